#include "diag/own_stack.h"

#include <pthread.h>

#include "diag/process.h"
#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {

// A thread's own record lies right above its stack; above the first thread's lies what the kernel has put there.
bool OwnStack::reaches(std::uintptr_t frame) {
    if (covers(frame)) return true;
    constexpr std::uintptr_t kMostAtOnce = std::uintptr_t{64} * os::kPageBytes;
    const auto is_near = [&](std::uintptr_t end) { return frame < end && end - frame <= kMostAtOnce; };
    std::uintptr_t end = begin_;
    if (end_ == 0) {
        const auto record = static_cast<std::uintptr_t>(pthread_self());
        end = is_near(record) ? record : process::main_stack_end();
    }
    if (!is_near(end)) return false;
    const std::uintptr_t begin = frame - frame % os::kPageBytes;
    std::uintptr_t word = 0;
    for (std::uintptr_t page = begin; page < end; page += os::kPageBytes)
        if (!os::safe_read(page, &word, sizeof word)) return false;
    begin_ = begin;
    if (end_ == 0) end_ = end;
    return true;
}

}  // namespace hakmem
