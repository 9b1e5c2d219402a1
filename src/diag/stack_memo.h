// Remembers where on the stack the return addresses of recent backtraces stood. A thread that comes by again at the
// same depth and finds all of them in place has the same stack, for the price of some loads: what `guard` needs, as it
// takes two stacks a block. One a thread; the table is made at its first use, or was an ended thread's.
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
    [[gnu::always_inline]] StackId find(std::uintptr_t frame) const {
        if (table_ == nullptr) return 0;
        const Depth &depth = depth_of(frame);
        if (depth.frame != frame) return 0;
        // Nearly always it is the first of the first.
        const std::uint32_t offset = depth.offsets[0];
        const std::uint64_t key = key_of(frame, word_at(frame + offset), offset);
        const Entry &entry = entry_of(key, 0);
        return entry.key == key && entry.holds(frame) ? entry.id : find_further(depth);
    }

    // That backtrace has the number `id`.
    void remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id);

    // Goes on from what a thread has left whose stack was at the same place, as the C library keeps them.
    void take_left();
    void leave();
    // What was left, and nobody has taken.
    static void forget_left();

    void forget();

    // Around fork. The child starts anew.
    static void before_fork();
    static void after_fork_in_parent();
    void restart_after_fork();

  private:
    static std::uintptr_t word_at(std::uintptr_t address) { return *reinterpret_cast<const std::uintptr_t *>(address); }
    static constexpr unsigned kMostFrames = 32;
    static constexpr unsigned kDepths = 1024;
    static constexpr unsigned kEntries = 4096;
    static constexpr unsigned kWays = 8;
    // How far up the stack a backtrace may reach.
    static constexpr std::size_t kMostBytes = 64 << 10;

    // How far above a frame the innermost return address stands: that depends on the way through our own functions, of
    // which there are few. Only for a frame that is remembered is the stack above it looked at.
    struct Depth {
        std::uintptr_t frame;
        std::uint32_t offsets[2];  // one at least, if there is a frame; 0: no second one
        std::uint16_t next;
        bool on_own_stack;
    };
    // Innermost first. Where all of them hold, it is the same stack, whatever its key.
    struct Entry {
        std::uint64_t key;  // of the frame and the innermost return address, to tell most stacks apart; 0: none
        StackId id;
        std::uint32_t frames;
        std::uint16_t offsets[kMostFrames];  // where a return address stands: words from the frame on
        std::uintptr_t pcs[kMostFrames];

        // Inner frames first: where they are the same, the memory of the outer ones is there too.
        [[gnu::always_inline]] bool holds(std::uintptr_t frame) const {
            for (std::uint32_t i = 0; i < frames; ++i)
                if (word_at(frame + offsets[i] * sizeof(std::uintptr_t)) != pcs[i]) return false;
            return true;
        }
    };
    static_assert(kMostBytes / sizeof(std::uintptr_t) <= 1u << 16);
    struct Table {
        Depth depths[kDepths];
        Entry entries[kEntries];
    };

    struct Left;

    Table *table_ = nullptr;
    // The thread's own stack, as far as it is known to be readable: from the deepest frame seen to its upper end.
    std::uintptr_t own_begin_ = 0, own_end_ = 0;
    unsigned victim_ = 0;

    bool is_on_own_stack(std::uintptr_t frame);
    StackId find_further(const Depth &depth) const;

    static std::uint64_t mix(std::uint64_t value) { return value * 0x9E3779B97F4A7C15; }
    Depth &depth_of(std::uintptr_t frame) const { return table_->depths[(mix(frame) >> 40) % kDepths]; }
    // Many call sites have their frames at the same place: a loop over them must not push each other out.
    static std::uint64_t key_of(std::uintptr_t frame, std::uintptr_t pc, std::uint32_t offset) {
        return (mix(frame ^ pc << 20) ^ offset) | 1;
    }
    // One of some neighbours, each key's own first.
    Entry &entry_of(std::uint64_t key, unsigned way) const { return table_->entries[((key >> 40) % kEntries) ^ way]; }
};

}  // namespace hakmem
