// Who had a signal before us gets it where it is not ours.
#pragma once

#include <signal.h>

namespace hakmem {

// Installs `action`; what was there before goes into `before`, but for the handler itself: chained to itself it would
// go round for ever. False if the kernel refused.
inline bool put_in_front(int signal, const struct sigaction &action, struct sigaction &before) {
    struct sigaction found {};
    if (sigaction(signal, &action, &found) != 0) return false;
    if (found.sa_sigaction != action.sa_sigaction) before = found;
    return true;
}

// Calls the handler; false if there is none.
inline bool pass_on(const struct sigaction &next, int signal, siginfo_t *info, void *context) {
    if ((next.sa_flags & SA_SIGINFO) != 0 && next.sa_sigaction != nullptr) {
        next.sa_sigaction(signal, info, context);
    } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
        next.sa_handler(signal);
    } else {
        return false;
    }
    return true;
}

}  // namespace hakmem
