// Freed blocks that a thread holds back from reuse, oldest first, so that a use after free hits nobody else's block and
// a second free still knows the first. One a thread; the bound on bytes is on the sum of all.
#pragma once

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
    static constexpr std::int64_t kUntold = 16 << 10;
    // The same with all that this thread holds. Below 0 for a moment, where another has taken out more than it has
    // told.
    std::int64_t known_bytes() const { return total_.load(std::memory_order_relaxed) + untold_; }

    // Takes the block in; false if there is no memory for the list, or the list is full.
    bool push(const Kept &kept) {
        if (head_ - tail_ == room_ && !grow()) return false;
        at(head_++) = Entry::of(kept);
        held(kept.bytes);
        return true;
    }

    std::int64_t own_bytes() const { return own_bytes_; }

    // Takes the oldest block out.
    Kept pop() {
        if (empty()) return {};
        const Kept kept = at(tail_++).kept();
        held(-static_cast<std::int64_t>(kept.bytes));
        fetch();
        return kept;
    }

    bool empty() const { return head_ == tail_; }
    bool full() const { return head_ - tail_ == kMostRoom; }
    // Something is to go, so that all threads hold no more than `most` bytes. The last sixteenth is for those that hold
    // next to nothing: one that has filled the rest and sleeps is not to leave the others without a quarantine.
    bool is_over(std::uint64_t most) const {
        const auto bound = static_cast<std::int64_t>(most);
        const bool little = own_bytes_ <= bound / 256;
        return (known_bytes() > (little ? bound : bound - bound / 16) || full()) && !empty();
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

    // What leaves is checked from end to end, and nobody has touched it for long: on its way into the cache some pops
    // before, it stalls none.
    void fetch() const {
        constexpr std::uint32_t kAhead = 8, kLines = 3, kLineBytes = 64;
        if (head_ - tail_ <= kAhead) return;
        const Kept ahead = at(tail_ + kAhead).kept();
        __builtin_prefetch(ahead.note);
        // From there on the processor sees where it goes.
        for (std::uint32_t line = 0; line < kLines; ++line)
            __builtin_prefetch(pointer_to(ahead.block - 1 + line * kLineBytes));
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
    std::int64_t own_bytes_ = 0;
    std::int64_t untold_ = 0;
};

}  // namespace hakmem
