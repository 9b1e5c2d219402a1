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
        BlockNote *note = nullptr;  // of a small one

        std::size_t small_bytes() const { return large ? 0 : bytes; }
    };

    // Bytes held by all threads, as far as these have told: each holds up to kUntold more or less.
    static std::uint64_t total_bytes() {
        const std::int64_t told = total_.load(std::memory_order_relaxed);
        return told > 0 ? static_cast<std::uint64_t>(told) : 0;
    }
    static constexpr std::int64_t kUntold = 8 << 10;
    // The same with all that this thread holds. Below 0 for a moment, where another has taken out more than it has
    // told.
    std::int64_t known_bytes() const { return total_.load(std::memory_order_relaxed) + own_bytes_ - told_; }

    // Takes the block in; false if there is no memory for the list, or the list is full.
    [[gnu::always_inline]] bool push(const Kept &kept) {
        if (head_ - tail_ == room_ && !grow()) return false;
        at(head_++) = Entry::of(kept);
        own_room_ -= kept.bytes;
        own_bytes_ += kept.bytes;
        if (own_bytes_ - told_ > kUntold) tell();
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
        own_bytes_ -= kept.bytes;
        if (own_bytes_ - told_ < -kUntold) tell();
        return kept;
    }

    // The next one that nobody has fetched yet. What leaves is checked from end to end, and has not been touched for
    // long: on its way into the cache some pops before, it stalls none. One a push, as some leave at once, which is
    // more than the processor waits for at a time.
    [[gnu::always_inline]] void fetch() {
        constexpr std::uint32_t kAhead = 24;
        const std::uint32_t ahead = fetched_ - tail_;
        if (ahead >= kAhead) {
            if (static_cast<std::int32_t>(ahead) >= 0) return;
            fetched_ = tail_;
        }
        __builtin_prefetch(&at(fetched_ + kAhead));
        const Kept kept = at(fetched_++).kept();
        if (kept.large) return;
        __builtin_prefetch(kept.note);
        constexpr std::uint32_t kLine = 64, kMostLines = 16;  // where there are more, the processor sees where it goes
        const std::uintptr_t last = kept.block + std::min(kept.bytes - 2, kLine * kMostLines);
        for (std::uintptr_t at = kept.block - 1; at < last; at += kLine) __builtin_prefetch(pointer_to(at));
        __builtin_prefetch(pointer_to(last));
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
    void restart_after_fork() { total_.store(told_, std::memory_order_relaxed); }

  private:
    // User space ends below 48 bits, and no small slot has 64 KiB.
    struct Entry {
        std::uint64_t low;   // the block, and above it a small one's bytes
        std::uint64_t high;  // a small one's note, a large one's bytes

        static constexpr unsigned kBytesShift = 48;
        static constexpr std::uint64_t kAddress = (std::uint64_t{1} << kBytesShift) - 1;

        static Entry of(const Kept &kept) {
            if (kept.large) return {kept.block, kept.bytes};
            return {kept.block | std::uint64_t{kept.bytes} << kBytesShift, reinterpret_cast<std::uintptr_t>(kept.note)};
        }
        Kept kept() const {
            const auto bytes = static_cast<std::uint32_t>(low >> kBytesShift);
            if (bytes == 0) [[unlikely]]
                return {low, true, static_cast<std::uint32_t>(high), nullptr};
            return {low & kAddress, false, bytes, reinterpret_cast<BlockNote *>(high)};
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
    [[gnu::noinline]] void tell();

    static constinit std::atomic<std::int64_t> total_;

    Entry *entries_ = nullptr;  // made at the first push, kept for the thread's life
    std::uint32_t room_ = 0;
    std::uint32_t head_ = 0;
    std::uint32_t tail_ = 0;
    std::uint32_t fetched_ = 0;  // from there on nothing is on its way into the cache
    std::int64_t own_bytes_ = 0;
    std::int64_t told_ = 0;      // of these
    std::int64_t own_room_ = 0;  // below 0 where a push has not asked for it
};

}  // namespace hakmem
