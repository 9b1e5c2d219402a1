// The middle: a Heap owns spans of small slots and the arrays of its thread's cache. One heap a living thread, plus one
// `central` heap that holds the spans of threads that have ended; heaps are never unmapped, ended ones serve the next
// thread.
//
// Blocks come and go in batches. A batch that goes home is grouped by span: own spans get their bits back under the own
// lock, another heap's spans get them by one atomic or a bitmap word, and the span is posted to its owner once. So no
// lock is shared between a producer and a consumer, and no owner is looked for on the fast path.
//
// Lock order: heap before central before page heap. The owner's lock is uncontended save for fork, trimming, and a
// thread that finds another heap's span entirely free.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/page_heap.h"
#include "core/size_classes.h"
#include "core/span.h"
#include "os/lock.h"

namespace hakmem {

// The thread cache's arrays: a stack of free blocks a class. A stack fills downwards from the array's end, so that its
// top pointer has zero low bits exactly when it is empty, which is also what an all-zero thread cache shows.
inline constexpr std::size_t kStackBytes = 1024;
inline constexpr unsigned kStackRoom = kStackBytes / sizeof(void *) - 1;

struct alignas(kStackBytes) BlockStack {
    void *blocks[kStackBytes / sizeof(void *)] = {};
    void **end() { return blocks + kStackBytes / sizeof(void *); }
};

// Blocks that a thread may cache of a class: at first, where they only ever leave or only ever come, and where the
// thread runs out of them and over in turns, so that a larger cache saves trips. Few bytes, as each class has its own.
struct CacheBounds {
    std::uint16_t first, one_way, most;
};
inline constexpr auto kCacheBounds = []() {
    constexpr auto bound = [](std::size_t bytes, std::size_t slot, std::size_t least) {
        const std::size_t blocks = bytes / slot < least ? least : bytes / slot;
        return static_cast<std::uint16_t>(blocks > kStackRoom ? kStackRoom : blocks);
    };
    std::array<CacheBounds, size_classes::kCount> table{};
    for (unsigned c = 0; c < size_classes::kCount; ++c) {
        const std::size_t slot = size_classes::kSlotBytes[c];
        table[c] = {bound(1 << 10, slot, 2), bound(8 << 10, slot, 4), bound(16 << 10, slot, 8)};
        if (table[c].first > 8) table[c].first = 8;
    }
    return table;
}();
// A thread that frees blocks of a class before it has had one sends so many home at once. Kept, one of a few small
// blocks that it was handed would come back to it, and share its cache line with those of other threads for good.
inline constexpr unsigned kEarlyFrees = 8;
// What a shrinking stack keeps at least.
inline constexpr unsigned kShrunkCapacity = 32;

// Blocks that a batch on its way home turned out not to be what their header had said.
struct Misfits {
    static constexpr unsigned kRoom = 16;
    unsigned count = 0;  // all of them, also beyond the room
    std::uintptr_t blocks[kRoom];
};

class Heap {
  public:
    BlockStack stacks[size_classes::kCount] = {};
    std::uint16_t capacity[size_classes::kCount] = {};    // of each stack, grows with use from none
    std::uint8_t early_frees[size_classes::kCount] = {};  // while the capacity is none
    // The last flush of the class let spans go: the program is giving memory up, and every block that we keep may hold
    // back a whole span. Such a stack shrinks instead of growing.
    bool shrinking[size_classes::kCount] = {};
    // The stack has run empty, and over, since it last grew.
    bool ran_empty[size_classes::kCount] = {}, ran_over[size_classes::kCount] = {};
    // Each stack's top, in the cache of the thread that has the heap; null while none has. For audits.
    std::atomic<void **const *> tops{nullptr};

    // Fills `to` with up to `wanted` free blocks of the class, lowest addresses first; returns how many. 0: no memory.
    unsigned take(unsigned size_class, void **to, unsigned wanted);
    // Takes `count` blocks whose headers say free and `size_class` home to their spans; returns how many spans that
    // emptied and let go.
    unsigned give(unsigned size_class, void *const *blocks, unsigned count, Misfits &misfits);

    // Hands all spans to the central heap; the stacks must have been emptied.
    void abandon_spans();

    Lock &lock() { return lock_; }

    // Next in the list of all heaps ever made; never changes once set.
    Heap *next_made = nullptr;
    // Next in the list of idle heaps.
    Heap *next_idle = nullptr;

    // Spans of this heap, for sweeps under lock().
    Span *first_span() const { return all_.head; }

    // Empties the remote stack and the reserves: what is entirely free goes to the page heap.
    void trim();

  private:
    friend class Heaps;

    Span *span_with_room(unsigned size_class);
    Span *adopt(unsigned size_class);
    Span *fresh_span(unsigned size_class);
    void own(Span *span);
    static unsigned take_from(Span *span, void **to, unsigned wanted);

    void collect_remote();
    void merge_remote(Span *span);
    // True if the span was let go.
    bool after_gain(Span *span);
    void release(Span *span);

    static void give_remote(Span *span, std::uint32_t word, std::uint64_t mask);
    static void post(Span *span);
    // Sends what is on this heap's remote stack to the owners; any thread may.
    void forward_remote();

    Lock lock_;
    std::atomic<Span *> remote_{nullptr};
    SpanList<&Span::partial> partial_[size_classes::kCount] = {};
    SpanList<&Span::all> all_ = {};
    Span *reserve_[size_classes::kCount] = {};  // one empty span a class, kept against thrashing
};

// All heaps of the process.
class Heaps {
  public:
    // A heap for a thread: an idle one or a new one; nullptr if memory is short.
    Heap *acquire();
    // The thread is done with it; its stacks are empty.
    void release(Heap *heap);

    // Around fork: all locks are held while the process is copied; in the child, the other threads' heaps go to the
    // central heap.
    void lock_all();
    void unlock_all();
    void reset_locks();
    void adopt_after_fork(Heap *current);

    // Gives back what the heaps hold in reserve.
    void trim_all();

    // f(Heap &) for every heap ever made, central included; no lock held.
    template <class F>
    void for_each(F f) {
        f(central);
        for (Heap *heap = made_.load(std::memory_order_acquire); heap != nullptr; heap = heap->next_made) f(*heap);
    }

    static Heap central;

  private:
    Lock lock_;
    std::atomic<Heap *> made_{nullptr};
    Heap *idle_ = nullptr;
};

extern constinit Heaps heaps;

}  // namespace hakmem
