#include "diag/own_stack.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>

#include "diag/process.h"
#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {

bool OwnStack::reaches(std::uintptr_t frame) {
    if (covers(frame)) return true;
    constexpr unsigned kMostAtOnce = 64;
    // Other mappings are further from the first thread's stack than this, which grows as it needs.
    constexpr std::uintptr_t kMostOfFirst = std::uintptr_t{64} << 20;
    if (end_ == 0) {
        // A thread's own record lies right above its stack; above the first thread's lies what the kernel has put
        // there.
        is_firsts_ = process::thread_id() == getpid();
        begin_ = is_firsts_ ? process::main_stack_end() : static_cast<std::uintptr_t>(pthread_self());
        // A signal handler that comes here in between finds nothing known.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        end_ = begin_;
    }
    if (frame >= end_ || (is_firsts_ && end_ - frame > kMostOfFirst)) return false;
    for (unsigned i = 0; begin_ > frame; ++i) {
        if (begin_ == floor_ || i == kMostAtOnce) return false;
        const std::uintptr_t page = (begin_ - 1) / os::kPageBytes * os::kPageBytes;
        std::uintptr_t word = 0;
        if (!os::safe_read(page, &word, sizeof word)) {
            if (!is_firsts_) floor_ = begin_;
            return false;
        }
        begin_ = page;
    }
    return true;
}

}  // namespace hakmem
