// The allocator: malloc's and free's fast paths and what they fall back to, once for every policy.
//
// Allocator<ProductionProbe> and Allocator<DiagProbe> are the same code; the probe's calls are the only difference.
// Fast paths are inline; slow paths are out of line and cold, and keep errno where free must. Nothing here formats or
// prints: findings go to the probe.
#pragma once

#include <pthread.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bits.h"
#include "core/block_header.h"
#include "core/classify.h"
#include "core/foreign.h"
#include "core/guarded_pages.h"
#include "core/header_byte.h"
#include "core/heap.h"
#include "core/notes.h"
#include "core/page_heap.h"
#include "core/page_map.h"
#include "core/probe.h"
#include "core/size_classes.h"
#include "core/slot_state.h"
#include "core/thread_cache.h"
#include "core/watch.h"
#include "os/lock.h"
#include "os/readable.h"

namespace hakmem {

template <Probe P>
class Allocator {
  public:
    using Cache = ThreadCache<P>;

    // All sizes are bytes. nullptr and ENOMEM where memory is short.
    static void *allocate(std::size_t bytes, Family family = Family::malloc) {
        if (bytes > size_classes::kMaxSmall) [[unlikely]]
            return allocate_large(bytes, BlockHeader::kBytes, family);
        const std::size_t size_class = size_classes::of_request(bytes);
        Cache &cache = cache_;
        void **top = cache.top[size_class];
        if (Cache::empty(top) || P::due(cache.probe, size_class)) [[unlikely]]
            return allocate_slow(bytes, size_class, family);
        void *block = *top;
        cache.top[size_class] = top + 1;
        header_byte::store(block, header_byte::live(size_class));
        P::allocated(cache.probe, size_class);
        return block;
    }

    // Any pointer; errno is kept.
    static void deallocate(void *block, Giving giving = {}) {
        if ((address_of(block) & (os::kPageBytes - 1)) == 0) [[unlikely]]
            return deallocate_page_aligned(block, giving);
        const std::uint32_t header = header_byte::guarded_load(block);
        const std::size_t size_class = header_byte::live_class(header);
        if (size_class >= size_classes::kCount) [[unlikely]]
            return deallocate_other(block, header, giving);
        Cache &cache = cache_;
        void **top = cache.top[size_class];
        if (top <= cache.floor[size_class]) [[unlikely]]
            return deallocate_slow(block, size_class);
        push(cache, top, block, size_class);
        P::freed(cache.probe, size_class);
    }

    static void *allocate_zeroed(std::size_t bytes) {
        if (bytes <= size_classes::kMaxSmall) {
            void *block = allocate(bytes);
            return block != nullptr ? std::memset(block, 0, bytes) : nullptr;
        }
        bool zeroed = false;
        void *block = allocate_large(bytes, BlockHeader::kBytes, Family::malloc, &zeroed);
        if (block != nullptr && !zeroed) std::memset(block, 0, bytes);
        return block;
    }

    // `alignment` must be a power of two.
    static void *allocate_aligned(std::size_t alignment, std::size_t bytes, Family family = Family::malloc);
    static void *reallocate(void *block, std::size_t bytes);
    // Bytes that the program may use; 0 for what is no block.
    static std::size_t usable_bytes(void *block);
    // The same for a program that asks: what is no live block is reported like a bad free.
    static std::size_t asked_usable_bytes(void *block);

    // Gives back what is free: this thread's cache, every heap's reserve, the page heap's pages. True if there was any.
    static bool trim();
    // The kernel has no more: like trim, and what the probe keeps of this thread's frees too.
    static void reclaim() {
        if constexpr (P::kDiagnostic) P::memory_short(cache_.probe);
        trim();
    }

    static BlockFacts inspect(void *block);

    // Around fork.
    static void before_fork() {
        P::before_fork();
        heaps.lock_all();
    }
    static void after_fork_in_parent() {
        heaps.unlock_all();
        P::after_fork_in_parent();
    }
    static void after_fork_in_child() {
        heaps.reset_locks();
        P::after_fork_in_child(cache_.probe);
        // Not before: until the probe has parted with what it shares with the parent, its gauges are the parent's.
        heaps.adopt_after_fork(cache_.heap);
    }

    static void library_ended() {
        if (cache_.heap != nullptr) check_cached(cache_);
        P::library_ended();
    }

    // For probes that act on the calling thread from outside a hook.
    static typename P::ThreadState &thread_state() { return cache_.probe; }

    // Takes a block back that the probe kept when it was freed (Probe::watched_freed). In any thread, with no lock
    // held.
    static void release_kept(const Watched &watched);

  private:
    using Stack = BlockStack;

    // Blocks from here on move by their pages when they grow: cheaper than a copy, but each leaves the kernel with
    // more mappings to keep.
    static constexpr std::size_t kLeastMoved = std::size_t{1} << 20;
    // What grows beyond this is put where it has most room to go on in place.
    static constexpr std::size_t kLeastGrowing = std::size_t{64} << 10;
    static bool outgrows(std::size_t usable, std::size_t bytes) {
        return usable < kLeastGrowing && bytes >= kLeastGrowing;
    }

    static void push(Cache &cache, void **top, void *block, std::size_t size_class) {
        header_byte::store(block, header_byte::free(size_class));
        top[-1] = block;
        cache.top[size_class] = top - 1;
    }

    static void **end_of(const Cache &cache, std::size_t size_class) { return cache.heap->stacks[size_class].end(); }

    [[gnu::noinline]] static void *allocate_slow(std::size_t bytes, std::size_t size_class, Family family);
    [[gnu::noinline]] static void *allocate_slower(std::size_t bytes, std::size_t size_class, Family family,
                                                   std::uint32_t number);
    static void *allocate_usual(std::size_t bytes, std::size_t size_class, Family family, std::uint32_t number);
    [[gnu::noinline]] static void *allocate_watched(std::size_t bytes, Family family, std::uint32_t number);
    static WatchPlan plan_for(std::size_t bytes, std::uint32_t number = kNoNumber);
    static void *allocate_planned(const WatchPlan &plan, std::size_t bytes, Family family);
    [[gnu::noinline]] static void *allocate_large(std::size_t bytes, std::size_t alignment, Family family,
                                                  bool *zeroed = nullptr, bool growing = false);
    [[gnu::noinline, gnu::cold]] static void deallocate_page_aligned(void *block, Giving giving);
    [[gnu::noinline]] static void deallocate_other(void *block, std::uint32_t header, Giving giving);
    [[gnu::noinline]] static void deallocate_watched_slot(void *block, std::uint32_t header, Giving giving);
    [[gnu::noinline]] static void deallocate_rest(void *block, std::uint32_t header, Giving giving);
    [[gnu::noinline]] static void deallocate_slow(void *block, std::size_t size_class);
    [[gnu::noinline, gnu::cold]] static void deallocate_slower(void *block, std::size_t size_class);
    [[gnu::noinline, gnu::cold]] static bool handle_bad_free(void *block);

    static void *pop(Cache &cache, std::size_t size_class);
    static bool refill(Cache &cache, std::size_t size_class);
    static void deallocate_small(void *block, std::size_t size_class);
    static void release_small(void *block, std::size_t size_class);
    static bool deallocate_aligned(void *block);
    static bool deallocate_usual(void *block, std::size_t size_class, std::uintptr_t frame, Giving giving);
    struct Slot {
        Span *span = nullptr;
        std::uint32_t index = 0;
    };
    static void deallocate_watched(void *user, void *block, std::size_t size_class, const Slot &slot, Giving giving);
    static void deallocate_run(void *block, Span *span, Giving giving);
    static unsigned flush(Cache &cache, std::size_t size_class, unsigned keep);
    static bool grow_stack(Cache &cache, std::size_t size_class);
    static void set_capacity(Cache &cache, std::size_t size_class, unsigned blocks);
    static void check_free_header(void *block, std::size_t size_class);
    static void check_cached(Cache &cache);
    static void report_misfits(Cache &cache, std::size_t size_class, const Misfits &misfits);
    static bool genuine(void *block, std::size_t size_class) {
        Slot slot;
        return find_genuine_slot(block, size_class, slot);
    }
    static Slot genuine_slot(void *block, std::size_t size_class) {
        Slot slot;
        return find_genuine_slot(block, size_class, slot) ? slot : Slot{};
    }
    static bool find_genuine_slot(void *block, std::size_t size_class, Slot &slot);
    static bool find_genuine_slot(PageEntry page, void *block, Slot &slot);
    static bool slot_of_class(void *block, std::size_t size_class);
    static bool is_live(void *block);
    static bool report_and_repair(void *block);
    static bool is_watched(void *slot);
    static void *allocate_guarded(std::size_t bytes, std::size_t alignment, const WatchPlan &plan, Family family);
    static void *allocate_aligned_watched(std::size_t alignment, std::size_t bytes, std::size_t whole, Family family);
    static void *align_in_slot(void *slot, std::size_t alignment, std::size_t bytes);
    static void *align_in_run(Span *span, std::uintptr_t aligned, std::size_t bytes);
    static void deallocate_guarded(Span *span, Giving giving);
    static bool resize_watched(void *block, Span *span, std::size_t usable, std::size_t bytes);
    static void *move_block(void *block, std::size_t usable, std::size_t bytes);
    static bool move_pages(Span *from, Span *to);
    // `room` bytes for a block that had `usable` and is to have `bytes`. What grows is put where it can go on growing.
    static void *allocate_to_move(std::size_t usable, std::size_t bytes, std::size_t room) {
        const bool growing = bytes > usable && bytes >= kLeastGrowing;
        return growing ? allocate_large(room, BlockHeader::kBytes, Family::malloc, nullptr, true) : allocate(room);
    }
    static void apply_mode(Cache &cache);
    static void *out_of_memory() {
        errno = ENOMEM;
        return nullptr;
    }

    // What a valid 16-byte header before the block says.
    struct Large {
        std::uint8_t marker = 0;  // 0: no valid header
        std::uint64_t value = 0;
    };
    static Large large_header(void *block);

    static bool start_process();
    static bool start_thread(Cache &cache);
    static void end_thread(Cache &cache);
    static void thread_exit_destructor(void *round);

    // Ends a thread again that was set up once more after its end. Slow paths nest.
    struct AfterEnd {
        Cache &cache;
        // By whoever starts it: what allocates further down, as the unwinder may, is not to end it there.
        const bool ended = cache.ended && cache.heap == nullptr;
        ~AfterEnd() {
            if (ended && cache.heap != nullptr) end_thread(cache);
        }
    };

    struct KeepErrno {
        const int saved = errno;
        ~KeepErrno() { errno = saved; }
    };

    static inline constinit thread_local Cache cache_ __attribute__((tls_model("initial-exec"))) = {};
    static inline constinit Lock start_lock_{};
    static inline constinit std::atomic<bool> started_{false};
    static inline constinit pthread_key_t exit_key_{};
};

// ---- life cycle ----

template <Probe P>
bool Allocator<P>::start_process() {
    LockGuard guard(start_lock_);
    if (started_.load(std::memory_order_relaxed)) return true;
    BlockHeader::key = os::process_secret();
    if (pthread_key_create(&exit_key_, thread_exit_destructor) != 0) return false;
    if constexpr (P::kDiagnostic) {
        std::uint32_t slot_bytes[size_classes::kCount];
        for (unsigned c = 0; c < size_classes::kCount; ++c) slot_bytes[c] = size_classes::kSlotBytes[c];
        P::library_started(slot_bytes, release_kept);
        page_heap.on_change = P::heap_changed;
    }
    started_.store(true, std::memory_order_release);
    return true;
}

template <Probe P>
bool Allocator<P>::start_thread(Cache &cache) {
    if (!started_.load(std::memory_order_acquire) && !start_process()) return false;
    Heap *heap = heaps.acquire();
    if (heap == nullptr) return false;
    for (unsigned c = 0; c < size_classes::kCount; ++c) {
        heap->shrinking[c] = false;
        heap->ran_empty[c] = heap->ran_over[c] = false;
        heap->capacity[c] = heap->early_frees[c] = 0;
        cache.top[c] = cache.lowest[c] = cache.floor[c] = heap->stacks[c].end();
    }
    cache.verifying = false;
    cache.heap = heap;
    heap->tops.store(cache.top, std::memory_order_release);
    P::thread_started(cache.probe);
    apply_mode(cache);
    // May allocate when the thread has many keys: the cache is ready for it by now.
    if (!cache.ended) pthread_setspecific(exit_key_, pointer_to(1));
    return true;
}

template <Probe P>
void Allocator<P>::end_thread(Cache &cache) {
    P::thread_ending(cache.probe);
    for (unsigned c = 0; c < size_classes::kCount; ++c) flush(cache, c, 0);
    P::thread_ended(cache.probe);
    for (unsigned c = 0; c < size_classes::kCount; ++c) cache.top[c] = cache.floor[c] = cache.lowest[c] = nullptr;
    Heap *heap = cache.heap;
    cache.heap = nullptr;
    heap->tops.store(nullptr, std::memory_order_relaxed);
    cache.verifying = false;
    cache.ended = true;
    heaps.release(heap);
}

// Other keys' destructors may still free: go late, but not in the last of the four rounds that POSIX promises. A thread
// whose first use of the allocator is a destructor of the first round, after our turn in that, would never get there.
template <Probe P>
void Allocator<P>::thread_exit_destructor(void *round) {
    const std::uintptr_t next = address_of(round) + 1;
    if (next <= 3) {
        pthread_setspecific(exit_key_, pointer_to(next));
        return;
    }
    KeepErrno keep;
    if (cache_.heap != nullptr) end_thread(cache_);
}

// The probe's wish to see every free, applied to this thread.
template <Probe P>
void Allocator<P>::apply_mode(Cache &cache) {
    if constexpr (P::kDiagnostic) {
        const bool wanted = P::verify_frees();
        if (cache.verifying == wanted) return;
        cache.verifying = wanted;
        for (unsigned c = 0; c < size_classes::kCount; ++c)
            cache.floor[c] = wanted ? pointer_to<void *>(~std::uintptr_t{0}) : cache.lowest[c];
    }
}

// ---- small blocks ----

// The stack is empty, or not there yet, or the probe wants to see this allocation.
template <Probe P>
void *Allocator<P>::allocate_slow(std::size_t bytes, std::size_t size_class, Family family) {
    std::uint32_t number = kNoNumber;
    if constexpr (P::kDiagnostic) {
        // It may unwind, and so allocate: first of all.
        number = P::plan_usual(cache_.probe, size_class, address_of(__builtin_frame_address(0)));
        if (void *block = allocate_usual(bytes, size_class, family, number)) [[likely]]
            return block;
    }
    return allocate_slower(bytes, size_class, family, number);
}

// Where all blocks are watched, nearly every one. nullptr where anything is not as usual: no block has been taken then.
template <Probe P>
inline __attribute__((always_inline)) void *Allocator<P>::allocate_usual(std::size_t bytes, std::size_t size_class,
                                                                         Family family, std::uint32_t number) {
    const std::size_t whole = bytes + P::kUsualSlack;
    if (is_unusual(number) || whole > size_classes::kMaxSmall) return nullptr;
    Cache &cache = cache_;
    const std::size_t slot_class = size_classes::of_request(whole);
    void **top = cache.top[slot_class];
    if (Cache::empty(top)) return nullptr;
    void *block = *top;
    if (header_byte::load(block) != header_byte::free(slot_class)) return nullptr;
    const PageMap::Entry entry = page_map.find(address_of(block));
    if (!entry.is_region()) return nullptr;
    const Region &region = *entry.region();
    Span *span = region.page_at(address_of(block)).span();
    if (span == nullptr) return nullptr;
    const std::uint32_t index = size_classes::slot_index(slot_class, address_of(block) - span->first_slot());
    BlockNote *note = span->single_notes == 0 ? note_in_row(span, index) : nullptr;
    if (note == nullptr) return nullptr;
    cache.top[slot_class] = top + 1;
    if (!Cache::empty(top + 1)) __builtin_prefetch(header_byte::location(address_of(top[1])));
    header_byte::store(block, header_byte::watched(slot_class));
    P::allocated(cache.probe, slot_class);
    const std::uintptr_t start = address_of(block);
    P::watched_usual(cache.probe, number, watched_small(start, start, size_classes::kSlotBytes[slot_class], note),
                     bytes, size_class, family);
    return block;
}

template <Probe P>
void *Allocator<P>::allocate_slower(std::size_t bytes, std::size_t size_class, Family family, std::uint32_t number) {
    Cache &cache = cache_;
    const int saved_errno = errno;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return out_of_memory();
    const bool empty = Cache::empty(cache.top[size_class]);
    P::poll(cache.probe);
    if (empty) P::slow_path(cache.probe, SlowReason::cache_empty);
    apply_mode(cache);

    void *block = nullptr;
    if (P::kDiagnostic && (!empty || P::due(cache.probe, size_class)))
        block = allocate_watched(bytes, family, number);
    else
        block = pop(cache, size_class);
    if (block == nullptr) return out_of_memory();
    errno = saved_errno;
    return block;
}

// Gets free blocks for an empty stack. False if memory is short.
template <Probe P>
bool Allocator<P>::refill(Cache &cache, std::size_t size_class) {
    Heap &heap = *cache.heap;
    heap.ran_empty[size_class] = true;
    grow_stack(cache, size_class);
    const unsigned wanted = (heap.capacity[size_class] + 1u) / 2;
    void **end = end_of(cache, size_class);
    unsigned taken = heap.take(size_class, end - wanted, wanted);
    if (taken == 0) {
        reclaim();
        taken = heap.take(size_class, end - wanted, wanted);
        if (taken == 0) return false;
    }
    if (taken != wanted) std::memmove(end - taken, end - wanted, taken * sizeof(void *));
    cache.top[size_class] = end - taken;
    return true;
}

// Hands out a block of the class, counted. nullptr if memory is short.
template <Probe P>
void *Allocator<P>::pop(Cache &cache, std::size_t size_class) {
    if (Cache::empty(cache.top[size_class]) && !refill(cache, size_class)) return nullptr;
    void **top = cache.top[size_class];
    void *block = *top;
    cache.top[size_class] = top + 1;
    check_free_header(block, size_class);
    header_byte::store(block, header_byte::live(size_class));
    P::allocated(cache.probe, size_class);
    return block;
}

// Whoever overran the block in front while this one was free has left a trace, which the new header would cover up.
template <Probe P>
void Allocator<P>::check_free_header(void *block, std::size_t size_class) {
    if constexpr (P::kDiagnostic) {
        const std::uint8_t found = header_byte::load(block);
        if (found == header_byte::free(size_class)) [[likely]]
            return;
        BlockFacts facts = inspect(block);
        facts.state = SlotState::free_slot;
        facts.header_found = found;
        facts.header_expected = header_byte::free(size_class);
        P::found_overwritten(cache_.probe, {facts, Kind::header_overwritten, HeaderInvalid::recovered});
    }
}

// The probe has asked for this allocation. nullptr if memory is short.
template <Probe P>
void *Allocator<P>::allocate_watched(std::size_t bytes, Family family, std::uint32_t number) {
    const WatchPlan plan = plan_for(bytes, number);
    if (plan.guard_pages) {
        if (void *block = allocate_guarded(bytes, size_classes::kGranule, plan, family)) return block;
    }
    if (bytes + plan.slack > size_classes::kMaxSmall) return allocate_large(bytes, BlockHeader::kBytes, family);
    return allocate_planned(plan, bytes, family);
}

template <Probe P>
WatchPlan Allocator<P>::plan_for(std::size_t bytes, std::uint32_t number) {
    if constexpr (P::kDiagnostic)
        return P::plan(cache_.probe, bytes, size_classes::of_request(bytes), number);
    else
        return {};
}

// A slot for `bytes` and the plan's slack, which together are a small block.
template <Probe P>
void *Allocator<P>::allocate_planned(const WatchPlan &plan, std::size_t bytes, Family family) {
    Cache &cache = cache_;
    const std::size_t size_class = size_classes::of_request(bytes + plan.slack);
    void *block = nullptr;
    if (P::kDiagnostic && plan.kept != 0) {
        block = pointer_to(plan.kept);
        P::allocated(cache.probe, size_class);
    } else {
        block = pop(cache, size_class);
        if (block == nullptr) return out_of_memory();
    }
    if constexpr (P::kDiagnostic) {
        if (!plan.watch) return block;
        Span *span = page_map.span_of(address_of(block));
        // Before the level rose, a free may have got by on what only looked like a header.
        if (span == nullptr || span->kind != SpanKind::small) return block;
        const std::size_t offset = address_of(block) - span->first_slot();
        BlockNote *note = note_of(span, size_classes::slot_index(size_class, offset), true);
        if (note == nullptr) return block;
        header_byte::store(block, header_byte::watched(size_class));
        const std::size_t slot_bytes = size_classes::kSlotBytes[size_class];
        P::watched(cache.probe, watched_small(address_of(block), address_of(block), slot_bytes, note), bytes, family);
    }
    return block;
}

// nullptr if there is no place for it.
template <Probe P>
void *Allocator<P>::allocate_guarded(std::size_t bytes, std::size_t alignment, const WatchPlan &plan, Family family) {
    if constexpr (P::kDiagnostic) {
        Span *span = guarded_pages.allocate(bytes, alignment, plan.guard_at_end);
        if (span == nullptr) return nullptr;
        void *block = pointer_to(span->start + span->user_offset);
        P::large_allocated(cache_.probe, span->bytes);
        Watched watched = watched_large(span);
        watched.header16 = alignment > size_classes::kGranule || bytes > size_classes::kMaxSmall;
        P::watched(cache_.probe, watched, bytes, family);
        return block;
    } else {
        return nullptr;
    }
}

template <Probe P>
void Allocator<P>::deallocate_guarded(Span *span, Giving giving) {
    if constexpr (P::kDiagnostic) {
        Cache &cache = cache_;
        // Of two threads that free it at once, one finds it free.
        if (!GuardedPages::claim(span)) {
            handle_bad_free(pointer_to(span->start + span->user_offset));
            return;
        }
        P::poll(cache.probe);
        P::slow_path(cache.probe, SlowReason::large);
        P::large_freed(cache.probe, span->bytes);
        P::watched_freed(cache.probe, watched_large(span), giving);
        guarded_pages.forbid(span);
    }
}

// The header says live and `size_class`; the stack is full, or not there yet, or every free is to be verified.
template <Probe P>
void Allocator<P>::deallocate_slow(void *block, std::size_t size_class) {
    Cache &cache = cache_;
    if constexpr (P::kDiagnostic) {
        // Every free comes here where every free is verified: the rest of this function only when it has to.
        void **top = cache.top[size_class];
        if (top > cache.lowest[size_class] && genuine(block, size_class)) [[likely]] {
            push(cache, top, block, size_class);
            P::freed(cache.probe, size_class);
            return;
        }
    }
    deallocate_slower(block, size_class);
}

template <Probe P>
void Allocator<P>::deallocate_slower(void *block, std::size_t size_class) {
    KeepErrno keep;
    Cache &cache = cache_;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return;
    P::poll(cache.probe);
    apply_mode(cache);
    if (cache.verifying && !genuine(block, size_class)) [[unlikely]] {
        handle_bad_free(block);
        return;
    }
    deallocate_small(block, size_class);
    P::freed(cache.probe, size_class);
}

// The block is a live one of this class, and counted by the caller. errno is the caller's business.
template <Probe P>
void Allocator<P>::deallocate_small(void *block, std::size_t size_class) {
    Cache &cache = cache_;
    Heap &heap = *cache.heap;
    void **end = end_of(cache, size_class);
    const unsigned room = heap.capacity[size_class];
    if (cache.top[size_class] <= end - room) {
        P::slow_path(cache.probe, SlowReason::cache_full);
        // Not to come back: the thread has had no block of the class yet, so another one writes next to this one.
        if (room == 0 && heap.early_frees[size_class]++ < kEarlyFrees) {
            push(cache, end, block, size_class);
            flush(cache, size_class, 0);
            return;
        }
        heap.ran_over[size_class] = true;
        if (heap.shrinking[size_class] || !grow_stack(cache, size_class)) {
            heap.shrinking[size_class] = flush(cache, size_class, room / 2) != 0;
            if (heap.shrinking[size_class] && room / 2 >= kShrunkCapacity) {
                set_capacity(cache, size_class, room / 2);
                flush(cache, size_class, room / 4);
            }
        }
    }
    push(cache, cache.top[size_class], block, size_class);
}

// A stack that has run empty or over. False if it is as large as it may be.
template <Probe P>
bool Allocator<P>::grow_stack(Cache &cache, std::size_t size_class) {
    Heap &heap = *cache.heap;
    const bool both = heap.ran_empty[size_class] && heap.ran_over[size_class];
    const unsigned most = both ? kCacheBounds[size_class].most : kCacheBounds[size_class].one_way;
    const unsigned now = heap.capacity[size_class];
    if (now >= most) return false;
    if (both) heap.ran_empty[size_class] = heap.ran_over[size_class] = false;
    const unsigned next = 2u * (now == 0 ? kCacheBounds[size_class].first : now);
    set_capacity(cache, size_class, next < most ? next : most);
    return true;
}

template <Probe P>
void Allocator<P>::set_capacity(Cache &cache, std::size_t size_class, unsigned blocks) {
    Heap &heap = *cache.heap;
    heap.capacity[size_class] = static_cast<std::uint16_t>(blocks);
    cache.lowest[size_class] = end_of(cache, size_class) - heap.capacity[size_class];
    if (!cache.verifying) cache.floor[size_class] = cache.lowest[size_class];
}

// The oldest blocks go home, the `keep` youngest stay. Returns how many spans that let go.
template <Probe P>
unsigned Allocator<P>::flush(Cache &cache, std::size_t size_class, unsigned keep) {
    void **end = end_of(cache, size_class);
    void **top = cache.top[size_class];
    const unsigned count = static_cast<unsigned>(end - top);
    if (count <= keep) return 0;
    Misfits misfits;
    const unsigned let_go = cache.heap->give(static_cast<unsigned>(size_class), top + keep, count - keep, misfits);
    std::memmove(end - keep, top, keep * sizeof(void *));
    cache.top[size_class] = end - keep;
    if (misfits.count != 0) [[unlikely]]
        report_misfits(cache, size_class, misfits);
    return let_go;
}

// Frees that got by on a header byte that was a valid one of another class: seen only now, when the block leaves the
// cache. What is a live slot after all goes home under its own class.
template <Probe P>
void Allocator<P>::report_misfits(Cache &cache, std::size_t size_class, const Misfits &misfits) {
    const unsigned known = misfits.count < Misfits::kRoom ? misfits.count : Misfits::kRoom;
    for (unsigned i = 0; i < known; ++i) {
        void *block = pointer_to(misfits.blocks[i]);
        BlockFacts facts = inspect(block);
        if (facts.owner == Owner::small && facts.at_start && facts.state != SlotState::never_used) {
            facts.state = SlotState::in_use;
            facts.header_found = header_byte::live(size_class);
        }
        const Finding finding = classify(facts);
        P::bad_free(cache.probe, finding);
        if (finding.kind == Kind::header_overwritten) {
            header_byte::store(block, header_byte::free(facts.size_class));
            Misfits none;
            cache.heap->give(facts.size_class, &block, 1, none);
        }
    }
}

// What has got by on a header byte of another class and has not left the cache yet: before the process ends.
template <Probe P>
void Allocator<P>::check_cached(Cache &cache) {
    for (unsigned c = 0; c < size_classes::kCount; ++c) {
        void **kept = end_of(cache, c);
        Misfits misfits;
        for (void **at = kept; at != cache.top[c];) {
            void *block = *--at;
            if (slot_of_class(block, c)) [[likely]]
                *--kept = block;
            else if (misfits.count < Misfits::kRoom)
                misfits.blocks[misfits.count++] = address_of(block);
        }
        cache.top[c] = kept;
        if (misfits.count != 0) [[unlikely]]
            report_misfits(cache, c, misfits);
    }
}

// By the span's own metadata: start of a slot of that class that was handed out once.
template <Probe P>
bool Allocator<P>::slot_of_class(void *block, std::size_t size_class) {
    const PageEntry page = page_map.page_of(address_of(block));
    if (!page.is_small(size_class)) return false;
    const Span *span = page.span();
    const size_classes::SlotPlace place = size_classes::place_of(size_class, address_of(block) - span->first_slot());
    return place.at_start && place.index < span->carved;
}

// By the span's own metadata: start of a slot of that class that is in use.
template <Probe P>
inline __attribute__((always_inline)) bool Allocator<P>::find_genuine_slot(void *block, std::size_t size_class,
                                                                           Slot &slot) {
    const PageEntry page = page_map.page_of(address_of(block));
    return page.is_small(size_class) && find_genuine_slot(page, block, slot);
}

// On a page of small slots. False if it is none.
template <Probe P>
inline __attribute__((always_inline)) bool Allocator<P>::find_genuine_slot(PageEntry page, void *block, Slot &slot) {
    Span *span = page.span();
    const size_classes::SlotPlace place =
        size_classes::place_of(page.size_class(), address_of(block) - span->first_slot());
    slot = {span, place.index};
    return place.at_start && place.index < span->carved && !span->is_home(place.index);
}

// ---- frees off the fast path ----

// Page-aligned: the header lies on the page before. The page map knows whether that is ours; a null pointer ends here.
template <Probe P>
void Allocator<P>::deallocate_page_aligned(void *block, Giving giving) {
    if (block == nullptr) return;
    KeepErrno keep;
    Cache &cache = cache_;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return;
    P::slow_path(cache.probe, SlowReason::page_boundary);
    const Span *span = page_map.span_of(address_of(block));
    if (P::kDiagnostic && span != nullptr && span->kind == SpanKind::guarded) {
        if (address_of(block) == span->start + span->user_offset && !span->freed)
            deallocate_guarded(page_map.span_of(address_of(block)), giving);
        else
            handle_bad_free(block);
        return;
    }
    // Every other block of ours has its header inside its span, so the byte before may be read.
    if (span == nullptr || address_of(block) == span->start) {
        handle_bad_free(block);
        return;
    }
    const std::uint8_t header = header_byte::load(block);
    const std::size_t size_class = header_byte::live_class(header);
    if (size_class >= size_classes::kCount)
        deallocate_other(block, header, giving);
    else
        deallocate_slow(block, size_class);
}

template <Probe P>
typename Allocator<P>::Large Allocator<P>::large_header(void *block) {
    // The 16 bytes may begin on the page before: ours if the page map says so.
    if ((address_of(block) & (os::kPageBytes - 1)) < BlockHeader::kBytes &&
        page_map.span_of(address_of(block) - BlockHeader::kBytes) == nullptr)
        return {};
    const BlockHeader header = BlockHeader::load(block);
    if (!header.valid_for(block)) return {};
    return {header.marker, header.value};
}

template <Probe P>
void Allocator<P>::deallocate_other(void *block, std::uint32_t header, Giving giving) {
    if constexpr (P::kDiagnostic) {
        if (header_byte::watched_class(header) < size_classes::kCount)
            return deallocate_watched_slot(block, header, giving);
    }
    if (header != BlockHeader::kAligned || !deallocate_aligned(block)) deallocate_rest(block, header, giving);
}

// By itself, so that what isn't watched pays for no registers.
template <Probe P>
void Allocator<P>::deallocate_watched_slot(void *block, std::uint32_t header, Giving giving) {
    const std::uintptr_t frame = address_of(__builtin_frame_address(0));
    if (!deallocate_usual(block, header_byte::watched_class(header), frame, giving)) [[unlikely]]
        deallocate_rest(block, header, giving);
}

// What allocate_usual has made, and nobody has changed. False where anything is not as usual: it is still the
// program's.
template <Probe P>
inline __attribute__((always_inline)) bool Allocator<P>::deallocate_usual(void *block, std::size_t size_class,
                                                                          std::uintptr_t frame, Giving giving) {
    const PageMap::Entry entry = page_map.find(address_of(block));
    if (!entry.is_region()) return false;
    const std::uintptr_t start = address_of(block);
    // By the class that the page is of: the note is on its way into the cache together with the header, for which
    // nothing here waits.
    const PageEntry page = entry.region()->page_at(start);
    if (!page.is_small()) return false;
    __builtin_prefetch(pointer_to(start + size_classes::kSlotBytes[page.size_class()] - 2));
    Slot slot;
    if (!find_genuine_slot(page, block, slot)) return false;
    BlockNote *note = only_note_in_row(slot.span, slot.index);
    if (note == nullptr) return false;
    __builtin_prefetch(note);
    if (page.size_class() != size_class) return false;
    Cache &cache = cache_;
    const Watched watched = watched_small(start, start, size_classes::kSlotBytes[size_class], note);
    const std::uint32_t number = P::free_usual(cache.probe, watched, frame, giving);
    if (is_unusual(number) ||
        !header_byte::replace(block, header_byte::watched(size_class), header_byte::free(size_class)))
        return false;
    P::freed(cache.probe, size_class);
    P::make_room(cache.probe, size_classes::kSlotBytes[size_class], [](std::uintptr_t oldest, std::size_t bytes) {
        release_small(pointer_to(oldest), size_classes::of_request(bytes - 1));
    });
    if (!P::keep_usual(cache.probe, number, watched)) release_small(block, size_class);
    return true;
}

// errno is kept.
template <Probe P>
void Allocator<P>::release_small(void *block, std::size_t size_class) {
    check_free_header(block, size_class);
    Cache &cache = cache_;
    void **top = cache.top[size_class];
    if (top > cache.lowest[size_class]) [[likely]]
        return push(cache, top, block, size_class);
    KeepErrno keep;
    deallocate_small(block, size_class);
}

template <Probe P>
void Allocator<P>::deallocate_rest(void *block, std::uint32_t header, Giving giving) {
    KeepErrno keep;
    Cache &cache = cache_;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return;
    if constexpr (P::kDiagnostic) {
        if (header == BlockHeader::kGuarded) {
            Span *span = page_map.span_of(address_of(block));
            if (span != nullptr && span->kind == SpanKind::guarded && !span->freed &&
                address_of(block) == span->start + span->user_offset) {
                P::freed_by_header16(cache.probe);
                deallocate_guarded(span, giving);
                return;
            }
        }
        const std::size_t watched_class = header_byte::watched_class(header);
        if (watched_class < size_classes::kCount) {
            if (const Slot slot = genuine_slot(block, watched_class); slot.span != nullptr) {
                P::poll(cache.probe);
                apply_mode(cache);
                deallocate_watched(block, block, watched_class, slot, giving);
                return;
            }
        }
    }
    if (header >= header_byte::kLargeFirst && header != BlockHeader::kGuarded) {
        const Large large = large_header(block);
        if (large.marker == BlockHeader::kRun) {
            Span *span = page_map.span_of(address_of(block));
            if (span != nullptr && span->kind != SpanKind::small &&
                span->start + span->user_offset == address_of(block)) {
                P::freed_by_header16(cache.probe);
                deallocate_run(block, span, giving);
                return;
            }
        } else if (large.marker == BlockHeader::kAligned) {
            void *start = static_cast<char *>(block) - large.value;
            const std::uint8_t slot_header = header_byte::load(start);
            const std::size_t size_class = header_byte::live_class(slot_header);
            const std::size_t watched_class = header_byte::watched_class(slot_header);
            // The keyed checksum vouches for the way here; what is left to doubt, production finds out at flush.
            if (size_class < size_classes::kCount && (!P::kDiagnostic || genuine(start, size_class))) {
                BlockHeader::mark_freed(block);
                P::freed_by_header16(cache.probe);
                P::poll(cache.probe);
                apply_mode(cache);
                deallocate_small(start, size_class);
                P::freed(cache.probe, size_class);
                return;
            }
            if constexpr (P::kDiagnostic) {
                const Slot slot = watched_class < size_classes::kCount ? genuine_slot(start, watched_class) : Slot{};
                if (slot.span != nullptr) {
                    BlockHeader::mark_freed(block);
                    P::freed_by_header16(cache.probe);
                    P::poll(cache.probe);
                    apply_mode(cache);
                    deallocate_watched(block, start, watched_class, slot, giving);
                    return;
                }
            }
            // The slot's own header is hurt, the 16-byte one is whole: the finding is about the slot.
            if (handle_bad_free(start)) BlockHeader::mark_freed(block);
            return;
        }
    }
    handle_bad_free(block);
}

// A small block behind a 16-byte header that leads back to its slot. False where anything isn't as nearly always: then
// nothing has been done.
template <Probe P>
bool Allocator<P>::deallocate_aligned(void *block) {
    if ((address_of(block) & (os::kPageBytes - 1)) < BlockHeader::kBytes) return false;
    const BlockHeader block_header = BlockHeader::load(block);
    if (!block_header.valid_for(block) || block_header.marker != BlockHeader::kAligned) return false;
    void *slot = static_cast<char *>(block) - block_header.value;
    const std::size_t size_class = header_byte::live_class(header_byte::load(slot));
    if (size_class >= size_classes::kCount) return false;
    Cache &cache = cache_;
    void **top = cache.top[size_class];
    if (top <= cache.lowest[size_class]) return false;
    // The keyed checksum vouches for the way here; what is left to doubt, production finds out at flush.
    if (cache.verifying && !genuine(slot, size_class)) return false;
    BlockHeader::store(block, block_header.value, BlockHeader::kFreedAligned);
    push(cache, top, slot, size_class);
    P::freed_by_header16(cache.probe);
    P::freed(cache.probe, size_class);
    return true;
}

// A watched slot. The probe looks at it first, and may keep it out of reuse for a while.
template <Probe P>
void Allocator<P>::deallocate_watched(void *user, void *block, std::size_t size_class, const Slot &slot,
                                      Giving giving) {
    if constexpr (P::kDiagnostic) {
        Cache &cache = cache_;
        const std::size_t slot_bytes = size_classes::kSlotBytes[size_class];
        // Of two threads that free it at once, one finds it free.
        const std::uint8_t found = header_byte::exchange(block, header_byte::free(size_class));
        if (found != header_byte::watched(size_class)) {
            handle_bad_free(block);
            return;
        }
        P::freed(cache.probe, size_class);
        // Not before: of a block that is somebody else's by now it may be another one's.
        BlockNote *note = note_of(slot.span, slot.index, false);
        if (note != nullptr &&
            P::watched_freed(cache.probe, watched_small(address_of(user), address_of(block), slot_bytes, note), giving))
            return;
        if (note != nullptr) drop_note(note);
        deallocate_small(block, size_class);
    }
}

template <Probe P>
void Allocator<P>::release_kept(const Watched &watched) {
    if constexpr (P::kDiagnostic) {
        void *block = pointer_to(watched.block);
        if (!watched.large) {
            drop_note(watched.note);
            release_small(block, size_classes::of_request(watched.room));
        } else if (Span *span = page_map.span_of(watched.block)) {
            page_heap.release(span);
        }
    }
}

template <Probe P>
void Allocator<P>::deallocate_run(void *block, Span *span, Giving giving) {
    // Of two threads that free it at once, one finds it free.
    if constexpr (P::kDiagnostic) {
        Cache &cache = cache_;
        if (!page_heap.claim(span, block)) {
            handle_bad_free(block);
            return;
        }
        P::poll(cache.probe);
        P::slow_path(cache.probe, SlowReason::large);
        P::large_freed(cache.probe, span->bytes);
        if (span->watched && P::watched_freed(cache.probe, watched_large(span), giving)) return;
        page_heap.release(span);
    } else {
        if (!page_heap.claim_and_release(span, block)) handle_bad_free(block);
    }
}

// No header answers for this pointer. True if the block was freed all the same.
template <Probe P>
bool Allocator<P>::handle_bad_free(void *block) {
    Cache &cache = cache_;
    P::slow_path(cache.probe, SlowReason::header_invalid);
    const BlockFacts facts = inspect(block);
    const Finding finding = classify(facts);
    P::freed_slowly(cache.probe);
    P::bad_free(cache.probe, finding);
    switch (finding.outcome) {
        case HeaderInvalid::recovered:
            if (facts.owner == Owner::small) {
                deallocate_small(block, facts.size_class);
                P::freed(cache.probe, facts.size_class);
            } else if (facts.owner == Owner::guarded) {
                deallocate_guarded(page_map.span_of(address_of(block)), {});
            } else if (Span *span = page_map.span_of(address_of(block))) {
                PageHeap::mark(span, block);
                deallocate_run(block, span, {});
            }
            return true;
        case HeaderInvalid::foreign:
            foreign::free_glibc_block(address_of(block));
            return true;
        case HeaderInvalid::rejected:
            break;
    }
    return false;
}

template <Probe P>
BlockFacts Allocator<P>::inspect(void *block) {
    BlockFacts facts;
    facts.address = address_of(block);
    const PageMap::Entry entry = page_map.find(facts.address);
    const Span *span = page_map.span_of(facts.address);
    if (span == nullptr || span->kind == SpanKind::unused) {
        facts.owner = entry.ours() && entry.span() == nullptr ? Owner::free_pages : Owner::nobody;
        facts.mapped = facts.owner == Owner::free_pages;
        if (facts.owner == Owner::nobody) {
            const MincoreResult mincore = os::page_mapped(facts.address);
            P::mincore_called(cache_.probe, mincore);
            facts.mapped = mincore == MincoreResult::mapped;
            // The byte before the block is the head's last one.
            foreign::ChunkHead head;
            if (facts.mapped && foreign::read_head(facts.address, head)) {
                facts.next_allocators = foreign::is_glibc_block(facts.address, head);
                facts.header_known = true;
                facts.header_found = reinterpret_cast<const unsigned char *>(&head + 1)[-1];
                return facts;
            }
        }
        facts.header_known = facts.mapped && os::safe_read(facts.address - 1, &facts.header_found, 1);
        return facts;
    }
    facts.mapped = true;
    if (span->kind == SpanKind::guarded) {
        facts.owner = Owner::guarded;
        facts.block = span->start + span->user_offset;
        facts.at_start = facts.block == facts.address;
        facts.state = span->freed ? SlotState::free_slot : SlotState::in_use;
        facts.slot_bytes = span->bytes;
        facts.header_expected = BlockHeader::kGuarded;
        // A freed one's pages are forbidden.
        facts.header_known = !span->freed && os::safe_read(facts.address - 1, &facts.header_found, 1);
        return facts;
    }
    facts.header_known = facts.address != span->start;
    if (facts.header_known) facts.header_found = header_byte::load(block);

    if (span->kind == SpanKind::small) {
        facts.owner = Owner::small;
        facts.size_class = span->size_class;
        facts.slot_bytes = span->slot_bytes();
        facts.header_expected = header_byte::live(span->size_class);
        if (facts.address < span->first_slot() || span->slot_of(facts.address) >= span->slots) return facts;
        const std::uint32_t index = span->slot_of(facts.address);
        facts.block = span->slot(index);
        facts.at_start = facts.block == facts.address;
        facts.state = slot_state(*span, index);
        if (!facts.at_start && facts.address >= span->start + BlockHeader::kBytes) {
            // Aligned blocks lie inside a slot: a header that says freed makes this a second free.
            const BlockHeader header = BlockHeader::load(block);
            facts.header16_valid = header.valid_for(block);
            if (facts.header16_valid && header.marker == BlockHeader::kFreedAligned) facts.state = SlotState::free_slot;
            facts.header16_hurt = !facts.header16_valid && header.is_left_of_aligned(block);
            if (facts.header16_valid || facts.header16_hurt) facts.header_expected = BlockHeader::kAligned;
        }
        if (index > 0) {
            facts.left_block = span->slot(index - 1);
            facts.left_state = slot_state(*span, index - 1);
        }
        return facts;
    }
    facts.owner = Owner::large;
    facts.block = span->start + span->user_offset;
    facts.at_start = facts.block == facts.address;
    facts.state = SlotState::in_use;
    if (facts.at_start) {
        // A probe may keep a freed block for a while.
        const BlockHeader header = BlockHeader::load(block);
        facts.header16_valid = header.valid_for(block);
        if (facts.header16_valid && header.marker == BlockHeader::kFreedRun) facts.state = SlotState::free_slot;
    }
    facts.slot_bytes = span->bytes;
    facts.header_expected = BlockHeader::kRun;
    return facts;
}

// ---- large and aligned blocks ----

template <Probe P>
void *Allocator<P>::allocate_large(std::size_t bytes, std::size_t alignment, Family family, bool *zeroed,
                                   bool growing) {
    Cache &cache = cache_;
    const int saved_errno = errno;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return out_of_memory();
    if (bytes > PTRDIFF_MAX || alignment > PTRDIFF_MAX) return out_of_memory();
    // The header stands before the user's memory, which starts at the first aligned address that leaves room for it.
    const std::size_t offset = alignment > os::kPageBytes ? alignment + BlockHeader::kBytes : alignment;
    P::poll(cache.probe);
    P::slow_path(cache.probe, SlowReason::large);
    apply_mode(cache);
    WatchPlan plan;
    if constexpr (P::kDiagnostic) {
        plan = P::plan_large(cache.probe, bytes);
        if (plan.guard_pages) {
            if (void *block = allocate_guarded(bytes, alignment, plan, family)) {
                if (zeroed != nullptr) *zeroed = true;
                errno = saved_errno;
                return block;
            }
        }
    }
    const std::size_t whole = align_up(bytes + offset + plan.slack, os::kPageBytes);
    if (whole > PTRDIFF_MAX) return out_of_memory();

    Span *span = page_heap.allocate_run(whole, growing);
    if (span == nullptr) {
        reclaim();
        span = page_heap.allocate_run(whole, growing);
        if (span == nullptr) return out_of_memory();
    }
    const std::uintptr_t user = align_up(span->start + BlockHeader::kBytes, alignment);
    if (zeroed != nullptr) *zeroed = span->zeroed;
    void *block = pointer_to(user);
    PageHeap::mark(span, block);
    // Whoever sweeps over the heap expects the header once this says where it is.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    span->user_offset = static_cast<std::uint32_t>(user - span->start);
    P::large_allocated(cache.probe, span->bytes);
    if constexpr (P::kDiagnostic) {
        if (plan.watch) {
            span->watched = true;
            P::watched(cache.probe, watched_large(span), bytes, family);
        }
    }
    errno = saved_errno;
    return block;
}

template <Probe P>
void *Allocator<P>::allocate_aligned(std::size_t alignment, std::size_t bytes, Family family) {
    if (alignment <= size_classes::kGranule) return allocate(bytes, family);
    // A slot with room to align in, the 16-byte header leads back to its start.
    if (alignment <= size_classes::kMaxSmall && bytes <= size_classes::kMaxSmall - alignment) {
        const std::size_t whole = bytes + alignment - size_classes::kGranule;
        if constexpr (P::kDiagnostic) {
            if (P::watches_all(cache_.probe)) return allocate_aligned_watched(alignment, bytes, whole, family);
        }
        return align_in_slot(allocate(whole, family), alignment, bytes);
    }
    if (alignment > (std::size_t{1} << 30)) return out_of_memory();
    return allocate_large(bytes, alignment, family);
}

template <Probe P>
void *Allocator<P>::allocate_aligned_watched(std::size_t alignment, std::size_t bytes, std::size_t whole,
                                             Family family) {
    const WatchPlan plan = plan_for(whole);
    if (plan.guard_pages) {
        if (void *block = allocate_guarded(bytes, alignment, plan, family)) return block;
    }
    if (whole + plan.slack > size_classes::kMaxSmall) return allocate_large(bytes, alignment, family);
    return align_in_slot(allocate_planned(plan, whole, family), alignment, bytes);
}

// The first aligned address of a slot that was made large enough for it.
template <Probe P>
void *Allocator<P>::align_in_slot(void *slot, std::size_t alignment, std::size_t bytes) {
    if (slot == nullptr) return nullptr;
    const std::uintptr_t aligned = align_up(address_of(slot), alignment);
    if constexpr (P::kDiagnostic) {
        // A thread's first allocation, or a level that has just risen, may have put it elsewhere than in a slot.
        Span *span = page_map.span_of(address_of(slot));
        if (span->kind != SpanKind::small) return align_in_run(span, aligned, bytes);
    }
    if (aligned != address_of(slot))
        BlockHeader::store(pointer_to(aligned), aligned - address_of(slot), BlockHeader::kAligned);
    if constexpr (P::kDiagnostic) {
        // Whoever sweeps over the heap expects the header once the note says where it is.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        Watched watched;
        if (is_watched(slot) && find_watched(address_of(slot), watched)) {
            watched.user = aligned;
            P::narrowed(watched, bytes);
        }
    }
    return pointer_to(aligned);
}

// Pages of their own need no way back to a slot's start: the block starts further on.
template <Probe P>
void *Allocator<P>::align_in_run(Span *span, std::uintptr_t aligned, std::size_t bytes) {
    if constexpr (P::kDiagnostic) {
        if (span->kind == SpanKind::guarded)
            GuardedPages::mark(pointer_to(aligned));
        else
            PageHeap::mark(span, pointer_to(aligned));
        std::atomic_signal_fence(std::memory_order_seq_cst);
        span->user_offset = static_cast<std::uint32_t>(aligned - span->start);
        if (span->watched) P::narrowed(watched_large(span), bytes);
    }
    return pointer_to(aligned);
}

// Of a live block of ours.
template <Probe P>
bool Allocator<P>::is_watched(void *slot) {
    const Span *span = page_map.span_of(address_of(slot));
    return span != nullptr && span->watched &&
           (span->kind != SpanKind::small || header_byte::watched_class(header_byte::load(slot)) == span->size_class);
}

template <Probe P>
std::size_t Allocator<P>::usable_bytes(void *block) {
    const Span *span = page_map.span_of(address_of(block));
    if (span == nullptr || (address_of(block) == span->start && span->kind != SpanKind::guarded)) {
        return block != nullptr && foreign::is_glibc_block(address_of(block))
                   ? foreign::glibc_usable_bytes(address_of(block))
                   : 0;
    }
    if (span->kind != SpanKind::small) {
        if (span->start + span->user_offset != address_of(block)) return 0;
    } else {
        if (address_of(block) < span->first_slot() || span->slot_of(address_of(block)) >= span->slots) return 0;
    }
    const std::uintptr_t start =
        span->kind == SpanKind::small ? span->slot(span->slot_of(address_of(block))) : address_of(block);
    if constexpr (P::kDiagnostic) {
        Watched watched;
        if (is_watched(pointer_to(start)) && find_watched(start, watched)) {
            watched.user = address_of(block);
            return P::usable_bytes(watched);
        }
    }
    return (span->kind == SpanKind::small ? start + span->slot_bytes() - 1 : span->end()) - address_of(block);
}

template <Probe P>
std::size_t Allocator<P>::asked_usable_bytes(void *block) {
    if (block == nullptr) return 0;
    // Not where that is a guard page.
    if (page_map.page_of(address_of(block) - 1).is_small()) [[likely]] {
        const std::size_t size_class = header_byte::live_class(header_byte::load(block));
        if (size_class < size_classes::kCount && slot_of_class(block, size_class))
            return size_classes::usable_bytes(size_class);
    }
    if (is_live(block) || foreign::is_glibc_block(address_of(block))) return usable_bytes(block);
    KeepErrno keep;
    Cache &cache = cache_;
    AfterEnd after{cache};
    if (cache.heap == nullptr && !start_thread(cache)) return 0;
    return report_and_repair(block) ? usable_bytes(block) : 0;
}

// A block of ours whose header says so.
template <Probe P>
bool Allocator<P>::is_live(void *block) {
    const Span *span = page_map.span_of(address_of(block));
    if (span == nullptr) return false;
    if (span->kind == SpanKind::guarded)
        return P::kDiagnostic && !span->freed && address_of(block) == span->start + span->user_offset;
    if (address_of(block) == span->start) return false;
    const std::uint8_t header = header_byte::load(block);
    if (header < header_byte::kLargeFirst)
        return span->kind == SpanKind::small && slot_of_class(block, span->size_class) &&
               (header == header_byte::live(span->size_class) || header == header_byte::watched(span->size_class));
    const Large large = large_header(block);
    return large.marker == (span->kind == SpanKind::small ? BlockHeader::kAligned : BlockHeader::kRun);
}

// Of a pointer that is no live block by its header: reported like a bad free. True if it is one after all, whose header
// was hurt: then it is made good.
template <Probe P>
bool Allocator<P>::report_and_repair(void *block) {
    Cache &cache = cache_;
    const Finding finding = classify(inspect(block));
    P::slow_path(cache.probe, SlowReason::header_invalid);
    P::bad_free(cache.probe, finding);
    if (finding.outcome != HeaderInvalid::recovered) return false;
    if (finding.facts.owner == Owner::small)
        header_byte::store(block, header_byte::live(finding.facts.size_class));
    else if (finding.facts.owner == Owner::guarded)
        GuardedPages::mark(block);
    else
        PageHeap::mark(page_map.span_of(address_of(block)), block);
    return true;
}

template <Probe P>
void *Allocator<P>::reallocate(void *block, std::size_t bytes) {
    if (block == nullptr) return allocate(bytes);
    if (bytes == 0) {
        deallocate(block);
        return nullptr;
    }
    if constexpr (P::kDiagnostic) {
        // A thread's first call: the probe counts a block that is resized in place as this thread's doing.
        if (cache_.heap == nullptr) [[unlikely]] {
            AfterEnd after{cache_};
            return start_thread(cache_) ? reallocate(block, bytes) : out_of_memory();
        }
    }
    const PageMap::Entry entry = page_map.find(address_of(block));
    Span *span = page_map.span_of(address_of(block));
    std::size_t usable = 0;  // of a block that nothing was asked for, too
    bool live = false;
    if (span != nullptr && (address_of(block) != span->start || span->kind == SpanKind::guarded)) {
        if (P::kDiagnostic && span->kind == SpanKind::guarded && !span->freed &&
            address_of(block) == span->start + span->user_offset)
            return move_block(block, usable_bytes(block), bytes);
        const std::uint32_t header = header_byte::guarded_load(block);
        const std::size_t size_class = header_byte::live_class(header);
        if (size_class < size_classes::kCount && span->kind == SpanKind::small && span->size_class == size_class) {
            live = true;
            usable = size_classes::usable_bytes(size_class);
        } else if (P::kDiagnostic && header_byte::watched_class(header) < size_classes::kCount &&
                   genuine(block, header_byte::watched_class(header))) {
            return move_block(block, usable_bytes(block), bytes);
        } else if (header >= header_byte::kLargeFirst && span->kind != SpanKind::guarded) {
            const Large large = large_header(block);
            // What the probe knows of a watched slot has to follow its size.
            if (P::kDiagnostic && large.marker == BlockHeader::kAligned &&
                is_watched(static_cast<char *>(block) - large.value))
                return move_block(block, usable_bytes(block), bytes);
            live = large.marker == BlockHeader::kAligned ||
                   (large.marker == BlockHeader::kRun && span->kind != SpanKind::small);
            if (live) usable = usable_bytes(block);
        }
    }
    if (!live) {
        if (!entry.ours() && foreign::is_glibc_block(address_of(block))) {
            usable = foreign::glibc_usable_bytes(address_of(block));
        } else {
            // A bad pointer: reported like a bad free. A block with a hurt header keeps its contents and goes on.
            Cache &cache = cache_;
            AfterEnd after{cache};
            if (cache.heap == nullptr && !start_thread(cache)) return out_of_memory();
            if (!report_and_repair(block)) return out_of_memory();
            usable = usable_bytes(block);
        }
    }

    if (bytes > PTRDIFF_MAX) return out_of_memory();

    if constexpr (P::kDiagnostic) {
        if (span != nullptr && span->kind != SpanKind::small && span->watched) {
            // What the probe knows of the block has to follow its size.
            if (!P::may_resize(watched_large(span)))
                return resize_watched(block, span, usable, bytes) ? block : move_block(block, usable, bytes);
        }
    }
    // Large enough, and not wastefully so.
    if (bytes <= usable && bytes >= usable / 2) return block;
    // What has grown will grow again: leave room, which costs no memory until it is touched.
    const std::size_t roomy = bytes > usable && usable > size_classes::kMaxSmall ? bytes + bytes / 8 : bytes;
    if (!outgrows(usable, bytes) && span != nullptr && span->kind != SpanKind::small &&
        bytes > size_classes::kMaxSmall) {
        const std::size_t whole = align_up(roomy + span->user_offset, os::kPageBytes);
        const std::size_t before = span->bytes;
        bool resized = whole == before;
        if (whole < before) {
            page_heap.shrink_in_place(span, whole);
            resized = true;
        } else if (whole > before) {
            resized = page_heap.grow_in_place(span, whole);
        }
        if (resized) {
            PageHeap::mark(span, block);
            if (span->bytes != before) {
                P::large_freed(cache_.probe, before);
                P::large_allocated(cache_.probe, span->bytes);
                if constexpr (P::kDiagnostic) {
                    if (span->watched) P::resized(cache_.probe, watched_large(span), bytes);
                }
            }
            return block;
        }
    }

    void *moved = allocate_to_move(usable, bytes, roomy);
    if (moved == nullptr && roomy != bytes) moved = allocate(bytes);
    if constexpr (P::kDiagnostic) {
        // Where the probe minds the size, as the level has risen since the block was had, it is to know the right one.
        Span *fresh = moved != nullptr && roomy != bytes ? page_map.span_of(address_of(moved)) : nullptr;
        if (fresh != nullptr && fresh->watched && !P::may_resize(watched_large(fresh))) {
            deallocate(moved);
            moved = allocate(bytes);
        }
    }
    if (moved == nullptr) return bytes <= usable ? block : nullptr;  // to shrink can't fail
    const std::size_t kept = usable < bytes ? usable : bytes;
    Span *target = span != nullptr && span->kind != SpanKind::small && span->bytes >= kLeastMoved
                       ? page_map.span_of(address_of(moved))
                       : nullptr;
    // Whole pages change hands without a copy where both blocks start alike and the new one would fault in anyway.
    if (target != nullptr && target->kind != SpanKind::guarded && target->zeroed &&
        target->user_offset == span->user_offset && target->bytes >= span->bytes && move_pages(span, target)) {
        span->emptied = true;
    } else {
        std::memcpy(moved, block, kept);
    }
    deallocate(block);
    return moved;
}

// Both blocks' pages, with the header that travels along and belongs to neither. False if nothing was done.
template <Probe P>
bool Allocator<P>::move_pages(Span *from, Span *to) {
    const std::uint32_t offset = from->user_offset;
    // Whoever sweeps over the heap expects no header until both are there again.
    from->user_offset = to->user_offset = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    const bool done = os::move_pages(pointer_to(from->start), pointer_to(to->start), from->bytes);
    if (done) {
        for (const Span *span : {from, to}) PageHeap::mark(span, pointer_to(span->start + offset));
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    from->user_offset = to->user_offset = offset;
    return done;
}

// A run whose size the probe minds to the byte, in its place. False where it has to move.
template <Probe P>
bool Allocator<P>::resize_watched(void *block, Span *span, std::size_t usable, std::size_t bytes) {
    if constexpr (P::kDiagnostic) {
        if (span->kind != SpanKind::run || bytes <= size_classes::kMaxSmall || outgrows(usable, bytes)) return false;
        KeepErrno keep;
        Cache &cache = cache_;
        const std::uint32_t slack = P::resizing(cache.probe, watched_large(span), bytes);
        if (slack == 0) return false;
        const std::size_t before = span->bytes;
        const std::size_t whole = align_up(span->user_offset + bytes + slack, os::kPageBytes);
        if (whole > before) {
            if (!page_heap.grow_in_place(span, whole)) {
                P::not_resized(watched_large(span), usable);
                return false;
            }
            PageHeap::mark(span, block);
            P::large_freed(cache.probe, before);
            P::large_allocated(cache.probe, span->bytes);
        }
        P::resized(cache.probe, watched_large(span), bytes);
        return true;
    } else {
        return false;
    }
}

template <Probe P>
void *Allocator<P>::move_block(void *block, std::size_t usable, std::size_t bytes) {
    void *moved = allocate_to_move(usable, bytes, bytes);
    if (moved == nullptr) return bytes <= usable ? block : nullptr;
    std::memcpy(moved, block, usable < bytes ? usable : bytes);
    deallocate(block);
    return moved;
}

template <Probe P>
bool Allocator<P>::trim() {
    Cache &cache = cache_;
    if (cache.heap != nullptr)
        for (unsigned c = 0; c < size_classes::kCount; ++c) flush(cache, c, 0);
    heaps.trim_all();
    return page_heap.discard_all();
}

}  // namespace hakmem
