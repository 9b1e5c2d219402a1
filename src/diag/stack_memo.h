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
    static constexpr unsigned kDepths = 256;
    static constexpr unsigned kBuckets = 64;
    static constexpr unsigned kWays = 8;
    // How far up the stack a backtrace may reach.
    static constexpr std::size_t kMostBytes = 64 << 10;

    // How far above a frame the innermost return address stands: that depends on the way through our own functions, of
    // which there are few. Only for a frame that is remembered is the stack above it looked at.
    struct Depth {
        std::uintptr_t frame;
        std::uint32_t offsets[2];
        unsigned next;
    };
    // What tells most others apart.
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

    struct Table {
        Depth depths[kDepths];
        Bucket buckets[kBuckets];
    };

    Table *table_ = nullptr;

    static std::uint64_t mix(std::uint64_t value) { return value * 0x9E3779B97F4A7C15 >> 40; }
    Depth &depth_of(std::uintptr_t frame) const { return table_->depths[mix(frame) % kDepths]; }
    // Many call sites have their frames at the same place: a loop over them must not push each other out.
    Bucket &bucket_of(std::uintptr_t frame, std::uintptr_t pc) const {
        return table_->buckets[mix(frame ^ pc << 20) % kBuckets];
    }
    static std::uintptr_t word_at(std::uintptr_t address) { return *reinterpret_cast<const std::uintptr_t *>(address); }
};

}  // namespace hakmem
