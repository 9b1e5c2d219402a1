// Stretches of the stacks that a thread has walked lately. One that is met again, at the same place on the stack and
// with the same return addresses where they stood, is passed at once: these loads wait for nothing, while a walk
// (stack_walk.h) waits at each frame for the one below. It is the same stretch indeed, as each address's rule says
// where the next one stands.
//
// Where a stretch ends is up to a hash of the place, so that two stacks with the same outer frames share the stretches
// there, whatever was called within. One table a thread.
#pragma once

#include <atomic>
#include <cstdint>

#include "diag/stack_table.h"
#include "diag/stack_walk.h"

namespace hakmem {

class StackSegments {
  public:
    // Before the first of them; a no-op where there is no memory.
    void start();
    // Nothing is known any more. Its memory goes with that, unless a signal handler has interrupted a walk.
    void forget();
    // Objects have been loaded or unloaded so often: others may lie where they were.
    void follow(std::uint64_t changes);

    // The number of the stack that walk_stack would find, if that is known and so is all that it takes to see it; else
    // 0. Fast path: of a stack that is one stretch. `table` has not been started anew since start().
    [[gnu::always_inline]] StackId find(const StackTable &table, std::uintptr_t frame, std::uintptr_t end,
                                        unsigned depth) {
        // A signal handler that has interrupted a walk goes without; one that was left by a jump is over.
        if (table_ == nullptr || frame < inside_) return 0;
        inside_ = frame;
        std::atomic_signal_fence(std::memory_order_seq_cst);
        const Return from = Return::from(frame);
        const Segment &segment = segment_at(from);
        StackId id = segment.is_at(from) && segment.frames <= depth ? segment.id : 0;
        if (id == 0) [[unlikely]]
            id = find_by_key(table, from, end, depth);
        std::atomic_signal_fence(std::memory_order_seq_cst);
        inside_ = 0;
        return id;
    }

  private:
    using Step = Return::Step;

    // The least is what many whole stacks are.
    static constexpr unsigned kLeastFrames = 6, kMostFrames = 16, kMostChecks = 2;
    static constexpr std::uint64_t kMeanFurther = 4;
    static constexpr unsigned kBits = 10;

    // Positions are words from `cfa` on.
    struct Segment {
        std::uintptr_t cfa;         // where it starts; 0: none
        std::uintptr_t end;         // the CFA that the next one starts at
        std::uintptr_t pointer;     // the frame pointer's value at its start, if that counts
        StackTable::Key::Part key;  // of its addresses but `ours`
        StackId id;                 // where it is a whole stack; 0: it isn't, or nobody has looked
        std::uint8_t frames;
        std::uint8_t ours;  // of these, at the innermost end: only where a walk starts
        std::uint8_t checks;
        bool pointer_counts;
        bool outermost;  // nothing comes behind it
        bool saves_pointer;
        std::uint16_t saved_at;               // the frame pointer's value at its end
        std::uint16_t at[kMostFrames];        // the return addresses, but for the first, which is below
        std::uint16_t check_at[kMostChecks];  // frame pointers on which it depends where the next address stands
        std::uintptr_t pc[kMostFrames];
        std::uintptr_t check[kMostChecks];

        [[gnu::always_inline]] bool is_at(const Return &to) const {
            if (cfa != to.cfa || pc[0] != to.pc) return false;
            for (unsigned i = 1; i < frames; ++i)
                if (Return::word_at(to.cfa + at[i] * Return::kWord) != pc[i]) return false;
            return (!pointer_counts || pointer == to.pointer) && (checks == 0 || checks_hold());
        }
        bool checks_hold() const {
            for (unsigned i = 0; i < checks; ++i)
                if (Return::word_at(cfa + check_at[i] * Return::kWord) != check[i]) return false;
            return true;
        }
    };
    struct Table {
        Segment segments[std::size_t{1} << kBits];
    };
    // So far.
    struct Walk {
        Return to;
        unsigned left;  // return addresses that still count
        StackTable::Key key;
    };

    static std::uint64_t hash_of(const Return &to) { return (to.cfa ^ to.pc << 20) * 0x9E3779B97F4A7C15; }
    static bool ends_before(const Return &to) { return (hash_of(to) >> 20) % kMeanFurther == 0; }
    Segment &segment_at(const Return &to) const { return table_->segments[hash_of(to) >> (64 - kBits)]; }

    [[gnu::noinline]] StackId find_by_key(const StackTable &table, const Return &from, std::uintptr_t end,
                                          unsigned depth);
    bool key_of(const Return &from, std::uintptr_t end, unsigned depth, StackTable::Key &key);
    void clear();
    // Walks on frame by frame, and keeps that.
    Step record(Walk &walk, std::uintptr_t end, bool first);

    Table *table_ = nullptr;
    std::uintptr_t inside_ = 0;  // the frame that a walk is underway from
    std::uint64_t changes_ = 0;
};

}  // namespace hakmem
