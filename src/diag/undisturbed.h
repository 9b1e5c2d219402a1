// A stretch of our code inside somebody else's call: errno stays as it was, and a pending pthread_cancel waits, as
// malloc and free are no cancellation points but the system calls in here are.
#pragma once

#include <pthread.h>

#include <cerrno>

namespace hakmem {

class Undisturbed {
  public:
    Undisturbed() : errno_(errno) { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_); }
    ~Undisturbed() {
        int ours = 0;
        pthread_setcancelstate(cancel_state_, &ours);
        errno = errno_;
    }
    Undisturbed(const Undisturbed &) = delete;
    Undisturbed &operator=(const Undisturbed &) = delete;

  private:
    int errno_;
    int cancel_state_ = PTHREAD_CANCEL_ENABLE;
};

}  // namespace hakmem
