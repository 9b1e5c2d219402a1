// DiagProbe: the diagnostic policy. The fast path's functions are one increment in the thread's own counter shard;
// everything else is in probe.cpp and the files it uses.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/fault.h"
#include "core/probe.h"
#include "diag/audit.h"
#include "diag/hunt.h"
#include "diag/state.h"
#include "diag/usual.h"
#include "diag/watch.h"
#include "segment/layout.h"

namespace hakmem {

struct DiagProbe {
    static constexpr bool kDiagnostic = true;
    struct ThreadState {
        segment::CounterShard *shard;
        Watcher watcher;
        std::uint32_t uses;  // where audits are periodic
    };

    static bool due(ThreadState &state, std::size_t size_class) { return state.watcher.due(size_class); }

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
    static void found_overwritten(ThreadState &state, const Finding &finding);

    static void library_started(const SlotBytes &slot_bytes, ReleaseKept release_kept);
    static void library_ended();
    static void thread_started(ThreadState &state);
    static void thread_ending(ThreadState &state);
    static void thread_ended(ThreadState &state);

    static void poll(ThreadState &thread) {
        if (!state.segment) return;
        if (has_to_attend(thread) || audit::may_be_due()) [[unlikely]]
            attend(thread);
    }
    static void heap_changed(const HeapGauges &gauges);

    static void before_fork();
    static void after_fork_in_parent();
    static void after_fork_in_child(ThreadState &state);

    static bool verify_frees() { return verify_frees_.load(std::memory_order_relaxed); }

    static WatchPlan plan(ThreadState &state, std::size_t bytes, std::size_t size_class, std::uint32_t number) {
        return state.watcher.plan(*state.shard, bytes, size_class, number);
    }
    static WatchPlan plan_large(ThreadState &state, std::size_t bytes) {
        return state.watcher.plan_large(*state.shard, bytes);
    }
    static bool watches_all(ThreadState &state) { return state.watcher.watches_all(); }
    static void watched(ThreadState &state, const Watched &watched, std::size_t bytes, Family family) {
        state.watcher.watched(*state.shard, watched, bytes, family);
    }
    // At `guard`, every allocation and every free comes here.
    static constexpr std::uint32_t kUsualSlack = Watcher::kUsualSlack;
    [[gnu::always_inline]] static StackId plan_usual(ThreadState &thread, std::size_t size_class,
                                                     std::uintptr_t frame) {
        return is_usual(thread) ? thread.watcher.plan_usual(*thread.shard, size_class, frame) : kNoNumber;
    }
    [[gnu::always_inline]] static void watched_usual(ThreadState &thread, StackId stack, const Watched &watched,
                                                     std::size_t bytes, std::size_t size_class, Family family) {
        thread.watcher.watched_usual(stack, watched, bytes, size_class, family);
    }
    [[gnu::always_inline]] static StackId free_usual(ThreadState &thread, const Watched &watched, std::uintptr_t frame,
                                                     Giving giving) {
        return is_usual(thread) ? thread.watcher.free_usual(*thread.shard, watched, frame, giving) : kNoNumber;
    }
    template <class Release>
    static void make_room(ThreadState &thread, std::size_t bytes, Release release) {
        thread.watcher.make_room(*thread.shard, bytes, release);
    }
    [[gnu::always_inline]] static bool keep_usual(ThreadState &thread, StackId stack, const Watched &watched) {
        return thread.watcher.keep_usual(watched, stack);
    }

    static void narrowed(const Watched &watched, std::size_t bytes) { Watcher::narrowed(watched, bytes); }
    static bool watched_freed(ThreadState &state, const Watched &watched, Giving giving) {
        return state.watcher.freed(*state.shard, watched, giving);
    }
    static void memory_short(ThreadState &state);
    static std::size_t usable_bytes(const Watched &watched) { return Watcher::usable_bytes(watched); }
    static bool may_resize(const Watched &watched) { return Watcher::may_resize(watched); }
    static std::uint32_t resizing(ThreadState &state, const Watched &watched, std::size_t bytes) {
        return Watcher::resizing(*state.shard, watched, bytes);
    }
    static void resized(ThreadState &state, const Watched &watched, std::size_t bytes) {
        state.watcher.resized(*state.shard, watched, bytes);
    }
    static void not_resized(const Watched &watched, std::size_t bytes) { Watcher::put_back(watched, bytes); }

    // Audits the heap in the calling thread, which must have used the allocator before.
    static audit::Result audit_now();

    // Somebody has changed the control word and sent a signal about it: called in the handler.
    static void nudged();

    // An access to a guard page or to freed memory behind one, in a signal handler. True if it was one, and the program
    // may go on.
    static bool guard_page_hit(std::uintptr_t address, std::uintptr_t pc, bool write);

    // A write to a byte that the hunt watches, in a signal handler.
    static void watchpoint_hit(std::uintptr_t address, std::uintptr_t pc, std::uintptr_t behind);

  private:
    // Of the thread that is let through: an access that runs on over the next page is the same one.
    struct LetThrough {
        std::uintptr_t page, pc, caller;

        bool goes_on(std::uintptr_t address, const backtrace::Trace &trace) const;
    };

    [[gnu::always_inline]] static bool has_to_attend(const ThreadState &thread) {
        return state.has_news() || hunt.is_over() || !thread.watcher.is_up_to_date() || audit::is_requested();
    }
    // Where the hunt is over, that is a change too.
    [[gnu::always_inline]] static bool is_usual(ThreadState &thread) {
        return thread.watcher.usual() && thread.watcher.is_up_to_date() && !state.has_news() &&
               !audit::is_requested() && (!thread.watcher.looks_at_time() || is_no_time_to_look(thread));
    }
    // Where there is an audit every so often, the time is looked at every so often.
    [[gnu::noinline]] static bool is_no_time_to_look(ThreadState &thread) {
        constexpr std::uint32_t kUsesALook = 64;
        return ++thread.uses % kUsesALook != 0;
    }
    [[gnu::noinline, gnu::cold]] static void attend(ThreadState &thread);
    static void follow_level();
    static segment::CounterShard &this_threads_shard();

    static constinit thread_local ThreadState *this_threads_ __attribute__((tls_model("initial-exec")));

    static constinit thread_local LetThrough let_through_ __attribute__((tls_model("initial-exec")));

    static constinit std::atomic<bool> verify_frees_;
};

static_assert(WatchingProbe<DiagProbe>);

}  // namespace hakmem
