#include "diag/backtrace.h"

#include <dlfcn.h>
#include <sched.h>
#include <sys/auxv.h>
#include <time.h>

#include <atomic>
#include <cstddef>

extern "C" {
// The linker's names for where this library (or program) begins and ends.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
}

namespace hakmem::backtrace {
namespace {

using UnwindFunction = int (*)(void **buffer, int size);

// Frames of ours between the program's call of free and here, at most.
constexpr unsigned kOwnFrames = 16;

enum class Loaded : int { not_yet, now, yes, no };

constinit std::atomic<Loaded> loaded{Loaded::not_yet};
constinit std::atomic<UnwindFunction> unwind{nullptr};

// The gate between unwinding and fork.
constinit std::atomic<int> inside{0};
constinit std::atomic<int> forking{0};  // threads that are in fork
constinit std::atomic<bool> unusable{false};
constinit thread_local bool this_thread_inside = false;

// Waits until `done`, for as long as a thread of ours can reasonably take, then gives up: better a missing backtrace
// than a program that hangs.
template <class Done>
bool wait_until(Done done) {
    constexpr unsigned kYields = 100;
    constexpr unsigned kNaps = 1000;
    for (unsigned i = 0; i < kYields + kNaps; ++i) {
        if (done()) return true;
        if (i < kYields) {
            sched_yield();
        } else {
            const timespec nap{0, 100'000};
            nanosleep(&nap, nullptr);
        }
    }
    return done();
}

UnwindFunction load() {
    Loaded state = Loaded::not_yet;
    if (loaded.compare_exchange_strong(state, Loaded::now)) {
        void *library = dlopen("libunwind.so.8", RTLD_NOW | RTLD_LOCAL);
        void *function = library != nullptr ? dlsym(library, "unw_backtrace") : nullptr;
        unwind = reinterpret_cast<UnwindFunction>(function);
        loaded = function != nullptr ? Loaded::yes : Loaded::no;
    }
    return unwind.load(std::memory_order_acquire);
}

// Frames of ours are dropped where we are a library of our own. Linked into a program, as in tests, they can't be told
// from the program's.
bool is_own(std::uintptr_t pc) {
    const auto begin = reinterpret_cast<std::uintptr_t>(__ehdr_start);
    const auto end = reinterpret_cast<std::uintptr_t>(_end);
    const std::uintptr_t program = getauxval(AT_PHDR);
    if (program >= begin && program < end) return false;
    return pc >= begin && pc < end;
}

}  // namespace

bool enter() {
    if (this_thread_inside || unusable.load(std::memory_order_relaxed)) return false;
    this_thread_inside = true;
    for (;;) {
        inside.fetch_add(1);
        if (forking.load() == 0) return true;
        inside.fetch_sub(1);
        if (wait_until([] { return forking.load() == 0; })) continue;
        this_thread_inside = false;
        return false;
    }
}

void leave() {
    inside.fetch_sub(1);
    this_thread_inside = false;
}

void start() {
    Trace trace;
    capture(trace, kMostFrames);
}

namespace {

// Leaves out the frames before the first for which `begins` holds.
template <class Begins>
inline __attribute__((always_inline)) void capture_from(Trace &trace, unsigned depth, Begins begins) {
    trace.frames = 0;
    if (!enter()) return;
    if (const UnwindFunction function = load()) {
        void *buffer[kMostFrames + kOwnFrames];
        const int most = static_cast<int>(depth + kOwnFrames);
        const int found = function(buffer, most);
        int first = 0;
        while (first < found && !begins(reinterpret_cast<std::uintptr_t>(buffer[first]))) ++first;
        for (int i = first; i < found && trace.frames < depth; ++i) {
            trace.pc[trace.frames++] = reinterpret_cast<std::uintptr_t>(buffer[i]);
        }
    }
    leave();
}

}  // namespace

__attribute__((noinline)) void capture(Trace &trace, unsigned depth) {
    capture_from(trace, depth, [](std::uintptr_t pc) { return !is_own(pc); });
}

__attribute__((noinline)) void capture_interrupted(Trace &trace, unsigned depth, std::uintptr_t pc,
                                                   std::uintptr_t behind) {
    capture_from(trace, depth, [pc](std::uintptr_t frame) { return frame == pc; });
    if (trace.frames == 0) trace.frames = 1;  // the unwinder did not get through the signal frame
    trace.pc[0] = behind;
}

void before_fork() {
    forking.fetch_add(1);
    const int own = this_thread_inside ? 1 : 0;
    wait_until([own] { return inside.load() <= own; });
}

void after_fork_in_parent() { forking.fetch_sub(1); }

void after_fork_in_child() {
    const int own = this_thread_inside ? 1 : 0;
    // Somebody was inside for very long: what they hold is held for ever here.
    if (inside.load() > own) unusable = true;
    inside = own;
    forking = 0;
}

}  // namespace hakmem::backtrace
