#include "diag/own_stack.h"

#include <pthread.h>

#include "diag/process.h"
#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {
bool OwnStack::reaches(std::uintptr_t frame) {
    if (covers(frame)) return true;
    constexpr unsigned kMostAtOnce = 64;
    // A thread's own record lies right above its stack, the first thread's below it.
    const auto record = static_cast<std::uintptr_t>(pthread_self());
    Part &part = parts_[frame < record ? 0 : 1];
    if (part.end == 0) part.begin = part.end = frame < record ? record : process::main_stack_end();
    if (frame >= part.end) return false;
    for (unsigned i = 0; part.begin > frame; ++i) {
        if (part.begin == part.floor || i == kMostAtOnce) return false;
        const std::uintptr_t page = (part.begin - 1) / os::kPageBytes * os::kPageBytes;
        std::uintptr_t word = 0;
        if (!os::safe_read(page, &word, sizeof word)) {
            part.floor = part.begin;
            return false;
        }
        part.begin = page;
    }
    known_ = part;
    return true;
}

}  // namespace hakmem
