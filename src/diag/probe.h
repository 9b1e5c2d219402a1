// DiagProbe: the diagnostic policy. The fast path's functions are one increment in the thread's own counter shard;
// everything else is in probe.cpp and the files it uses.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/fault.h"
#include "core/probe.h"
#include "segment/layout.h"

namespace hakmem {

struct DiagProbe {
    static constexpr bool kDiagnostic = true;
    struct ThreadState {
        segment::CounterShard *shard;
    };

    static void allocated(ThreadState &state, std::size_t size_class) { ++state.shard->allocations[size_class]; }
    static void freed(ThreadState &state, std::size_t size_class) { ++state.shard->frees[size_class]; }

    static void large_allocated(ThreadState &state, std::size_t bytes) {
        ++state.shard->allocations[segment::kSizeClasses];
        state.shard->large_allocated_bytes += bytes;
    }
    static void large_freed(ThreadState &state, std::size_t bytes) {
        ++state.shard->frees[segment::kSizeClasses];
        state.shard->large_freed_bytes += bytes;
    }
    static void freed_by_header16(ThreadState &state) { ++state.shard->free_header16; }
    static void freed_slowly(ThreadState &state) { ++state.shard->free_slow; }

    static void slow_path(ThreadState &state, SlowReason reason) {
        ++state.shard->slow_path[static_cast<unsigned>(reason)];
    }
    static void mincore_called(ThreadState &state, MincoreResult result) {
        ++state.shard->mincore_calls[static_cast<unsigned>(result)];
    }

    static void bad_free(ThreadState &state, const Finding &finding);

    static void library_started(const SlotBytes &slot_bytes);
    static void library_ended();
    static void thread_started(ThreadState &state);
    static void thread_ended(ThreadState &state);

    static void poll(ThreadState &state);
    static void heap_changed(const HeapGauges &gauges);

    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_child(ThreadState &state);

    static bool verify_frees() { return verify_frees_.load(std::memory_order_relaxed); }

  private:
    static void follow_level();

    static constinit std::atomic<bool> verify_frees_;
};

static_assert(Probe<DiagProbe>);

}  // namespace hakmem
