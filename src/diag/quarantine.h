// Freed blocks that a thread holds back from reuse, oldest first, so that a use after free hits nobody else's block and
// a second free still knows the first. One a thread; the bound on bytes is on the sum of all.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bits.h"
#include "core/watch.h"

namespace hakmem {

class Quarantine {
  public:
    // What is kept of a block, so that nothing has to be looked up when it comes out again.
    struct Kept {
        std::uintptr_t block = 0;  // 0: none
        bool large = false;
        std::uint32_t bytes = 0;
        BlockNote *note = nullptr;
    };

    // Bytes held by all threads, as far as these have told: each holds up to kUntold more or less.
    static std::uint64_t total_bytes() {
        const std::int64_t told = total_.load(std::memory_order_relaxed);
        return told > 0 ? static_cast<std::uint64_t>(told) : 0;
    }
    static constexpr std::int64_t kUntold = 8 << 10;
    // The same with all that this thread holds. Below 0 for a moment, where another has taken out more than it has
    // told.
    std::int64_t known_bytes() const { return total_.load(std::memory_order_relaxed) + untold_; }

    // Takes the block in; false if there is no memory for the list, or the list is full.
    [[gnu::always_inline]] bool push(const Kept &kept) {
        if (head_ - tail_ == room_ && !grow()) return false;
        at(head_++) = Entry::of(kept);
        held(kept.bytes);
        own_room_ -= kept.bytes;
        fetch();
        return true;
    }

    // Fast path: so many bytes more, and nobody need look at what all threads hold. What goes out makes no room here:
    // others may have filled it.
    bool has_room_for(std::size_t bytes) const {
        return static_cast<std::int64_t>(bytes) <= own_room_ && head_ - tail_ != room_;
    }
    // It has room for what is missing to `most` for all threads, or for as much of that as need not be told.
    void take_room(std::uint64_t most) {
        own_room_ = std::clamp<std::int64_t>(bound_of(most) - known_bytes(), 0, kUntold);
    }

    std::int64_t own_bytes() const { return own_bytes_; }

    // Takes the oldest block out.
    Kept pop() {
        if (empty()) return {};
        const Kept kept = at(tail_++).kept();
        held(-static_cast<std::int64_t>(kept.bytes));
        return kept;
    }

    // The next one that nobody has fetched yet. What leaves is checked from end to end, and has not been touched for
    // long: on its way into the cache some pops before, it stalls none. One a push, as some leave at once, which is
    // more than the processor waits for at a time.
    void fetch() {
        constexpr std::uint32_t kAhead = 24;
        const std::uint32_t ahead = fetched_ - tail_;
        if (ahead >= kAhead) {
            if (static_cast<std::int32_t>(ahead) >= 0) return;
            fetched_ = tail_;
        }
        __builtin_prefetch(&at(fetched_ + kAhead));
        const Kept kept = at(fetched_++).kept();
        __builtin_prefetch(kept.note);
        // From there on the processor sees where it goes.
        const std::uintptr_t last = kept.block + kept.bytes - 2;
        __builtin_prefetch(pointer_to(kept.block - 1));
        __builtin_prefetch(pointer_to(std::min(kept.block + 63, last)));
        __builtin_prefetch(pointer_to(std::min(kept.block + 127, last)));
    }

    bool empty() const { return head_ == tail_; }
    bool full() const { return head_ - tail_ == kMostRoom; }
    // Something is to go, so that all threads hold no more than `most` bytes. The last sixteenth is for those that hold
    // next to nothing: one that has filled the rest and sleeps is not to leave the others without a quarantine.
    bool is_over(std::uint64_t most) const { return excess(most) > 0; }
    // Bytes that are to go; all, where the list itself has no room.
    std::int64_t excess(std::uint64_t most) const {
        if (empty()) return 0;
        return full() ? own_bytes_ : known_bytes() - bound_of(most);
    }

    // The thread ends; what it held has been taken out.
    void release_memory();

    // The process has forked: the other threads' blocks are not coming back.
    void restart_after_fork() { total_.store(own_bytes_ - untold_, std::memory_order_relaxed); }

  private:
    // Blocks are aligned to 16, and user space ends below 48 bits.
    struct Entry {
        std::uint64_t low, high;

        static constexpr unsigned kBytesShift = 48;
        static constexpr std::uint64_t kAddress = (std::uint64_t{1} << kBytesShift) - 1;
        static constexpr std::uint64_t kLarge = 1;

        static Entry of(const Kept &kept) {
            return {kept.block | (kept.large ? kLarge : 0) | std::uint64_t{kept.bytes & 0xFFFF} << kBytesShift,
                    reinterpret_cast<std::uintptr_t>(kept.note) | std::uint64_t{kept.bytes >> 16} << kBytesShift};
        }
        Kept kept() const {
            return {low & kAddress & ~kLarge, (low & kLarge) != 0,
                    static_cast<std::uint32_t>(low >> kBytesShift | high >> kBytesShift << 16),
                    reinterpret_cast<BlockNote *>(high & kAddress)};
        }
    };
    // Entries in the ring: powers of two, more as they are needed.
    static constexpr std::uint32_t kFirstRoom = 256, kMostRoom = 1u << 17;

    std::int64_t bound_of(std::uint64_t most) const {
        const auto bound = static_cast<std::int64_t>(most);
        return own_bytes_ <= bound / 256 ? bound : bound - bound / 16;
    }

    Entry &at(std::uint32_t turn) const { return entries_[turn & (room_ - 1)]; }
    bool grow();

    // All threads write to the sum: told only now and then.
    void held(std::int64_t more) {
        own_bytes_ += more;
        untold_ += more;
        if (untold_ > kUntold || untold_ < -kUntold) tell();
    }
    void tell() {
        total_.fetch_add(untold_, std::memory_order_relaxed);
        untold_ = 0;
    }

    static constinit std::atomic<std::int64_t> total_;

    Entry *entries_ = nullptr;  // made at the first push, kept for the thread's life
    std::uint32_t room_ = 0;
    std::uint32_t head_ = 0;
    std::uint32_t tail_ = 0;
    std::uint32_t fetched_ = 0;  // from there on nothing is on its way into the cache
    std::int64_t own_bytes_ = 0;
    std::int64_t untold_ = 0;
    std::int64_t own_room_ = 0;  // below 0 where a push has not asked for it
};

}  // namespace hakmem
