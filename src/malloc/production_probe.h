// The production policy: nothing is counted, nothing is recorded. Only the first bug that shows leaves one line on
// stderr: at a bad free, or at exit, in a last look at headers that nobody's free has tripped over.
#pragma once

#include "core/probe.h"

namespace hakmem {

struct ProductionProbe {
    static constexpr bool kDiagnostic = false;
    struct ThreadState {};

    static bool due(ThreadState &, std::size_t) { return false; }
    static void allocated(ThreadState &, std::size_t) {}
    static void freed(ThreadState &, std::size_t) {}
    static void large_allocated(ThreadState &, std::size_t) {}
    static void large_freed(ThreadState &, std::size_t) {}
    static void freed_by_header16(ThreadState &) {}
    static void freed_slowly(ThreadState &) {}
    static void slow_path(ThreadState &, SlowReason) {}
    static void mincore_called(ThreadState &, MincoreResult) {}
    // Says on stderr what it saw, once a process.
    static void bad_free(ThreadState &, const Finding &finding);
    static void library_started(const SlotBytes &, ReleaseKept) {}
    static void library_ended();
    static void thread_started(ThreadState &) {}
    static void thread_ending(ThreadState &) {}
    static void thread_ended(ThreadState &) {}
    static void poll(ThreadState &) {}
    static void heap_changed(const HeapGauges &) {}
    static void before_fork() {}
    static void after_fork_in_parent() {}
    static void after_fork_in_child(ThreadState &) {}
    static bool verify_frees() { return false; }
};

static_assert(Probe<ProductionProbe>);

}  // namespace hakmem
