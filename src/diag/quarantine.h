// Freed blocks that a thread holds back from reuse, oldest first, so that a use after free hits nobody else's block and
// a second free still knows the first. One a thread; the bound on bytes is on the sum of all.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hakmem {

class Quarantine {
  public:
    // Bytes held by all threads.
    static std::uint64_t total_bytes() { return total_.load(std::memory_order_relaxed); }

    // Takes the block in; false if there is no memory for the list, or the list is full.
    bool push(std::uintptr_t block, std::size_t bytes);

    // Takes the oldest block out; 0 if there is none.
    std::uintptr_t pop();

    // The block that `pops` more pops bring; 0 if there is none.
    std::uintptr_t ahead(std::uint32_t pops) const { return head_ - tail_ > pops ? at(tail_ + pops).block : 0; }

    bool empty() const { return head_ == tail_; }
    bool full() const { return head_ - tail_ == kMostRoom; }

    // The thread ends; what it held has been taken out.
    void release_memory();

    // The process has forked: the other threads' blocks are not coming back.
    void restart_after_fork() { total_.store(own_bytes_, std::memory_order_relaxed); }

    // Calls f(block) for what this thread holds.
    template <class F>
    void for_each(F f) const {
        for (std::uint32_t i = tail_; i != head_; ++i) f(at(i).block);
    }

  private:
    struct Entry {
        std::uintptr_t block;
        std::size_t bytes;
    };
    // Entries in the ring: powers of two, more as they are needed.
    static constexpr std::uint32_t kFirstRoom = 256, kMostRoom = 1u << 17;

    Entry &at(std::uint32_t turn) const { return entries_[turn & (room_ - 1)]; }
    bool grow();

    static constinit std::atomic<std::uint64_t> total_;

    Entry *entries_ = nullptr;  // made at the first push, kept for the thread's life
    std::uint32_t room_ = 0;
    std::uint32_t head_ = 0;
    std::uint32_t tail_ = 0;
    std::uint64_t own_bytes_ = 0;
};

}  // namespace hakmem
