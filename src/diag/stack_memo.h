// Remembers where on the stack the return addresses of recent backtraces stood. A thread that comes by again at the
// same depth and finds all of them in place has the same stack, for the price of some loads: what `guard` needs, as it
// takes two stacks a block. One a thread; the table is made at its first use.
//
// The addresses are looked for, not computed: a backtrace whose addresses can't be told apart from leftovers of earlier
// calls is not remembered.
#pragma once

#include <cstddef>
#include <cstdint>

#include "diag/backtrace.h"
#include "diag/note.h"

namespace hakmem {

class StackMemo {
  public:
    // The stack that was remembered for `frame`, an address in the caller's own frame; 0 if there is none.
    StackId find(std::uintptr_t frame);

    // That backtrace has the number `id`.
    void remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id);

    // Numbers mean something else from now on, or the thread ends.
    void forget();

  private:
    static constexpr unsigned kMostFrames = 32;
    static constexpr unsigned kBuckets = 64;
    static constexpr unsigned kWays = 8;
    // How far up the stack a backtrace may reach.
    static constexpr std::size_t kMostBytes = 64 << 10;

    // What tells most others apart. Only for a frame that is remembered is the stack above it looked at.
    struct Key {
        std::uintptr_t frame;
        std::uintptr_t pc;  // the innermost
        std::uint32_t offset;
    };
    struct Entry {
        StackId id;
        std::uint32_t frames;
        std::uint32_t offset[kMostFrames];  // from the frame, bytes
        std::uintptr_t pc[kMostFrames];
    };
    struct Bucket {
        Key keys[kWays];
        unsigned next;
        Entry entries[kWays];
    };

    Bucket *buckets_ = nullptr;

    Bucket &bucket_of(std::uintptr_t frame) const { return buckets_[(frame * 0x9E3779B97F4A7C15 >> 50) % kBuckets]; }
    static std::uintptr_t word_at(std::uintptr_t address) { return *reinterpret_cast<const std::uintptr_t *>(address); }
};

}  // namespace hakmem
