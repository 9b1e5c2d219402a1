// What a thread remembers of the stacks that it has walked, so that it knows most of them by number without a walk. One
// a thread; all-zero is a valid start.
//
// Short ones are kept by where they start: the words that have to be there, each at its place, for all of it to be the
// same one again. Any other is told by how it differs from the one before (last_stack.h).
#pragma once

#include <atomic>
#include <cstdint>

#include "diag/last_stack.h"
#include "diag/own_stack.h"
#include "diag/stack_table.h"
#include "diag/stack_walk.h"

namespace hakmem {

class StackMemory {
  public:
    // Before the first of them; a no-op where there is no memory.
    void start();
    // Nothing is known any more. Its memory goes with that, unless a signal handler has interrupted a walk.
    void forget();
    // Objects have been loaded or unloaded so often: others may lie where they were.
    void follow(std::uint64_t changes);

    // Fast path. The number of the stack that walk_stack would find from `frame`, if that is a short one that is known,
    // and so all of it the thread's own; else 0. A function by itself, as that leaves the caller's registers alone.
    StackId find(std::uintptr_t frame);

    // The same where it has to be walked. `depth` is the same for all since start(), and `table` has not been started
    // anew since then.
    enum class Found {
        known,
        unknown,   // the table has none such
        unwalked,  // that may be otherwise in another moment, or once more has been told
    };
    Found walk(const StackTable &table, std::uintptr_t frame, const OwnStack &own, unsigned depth, StackId &id);

  private:
    static constexpr unsigned kBits = 10;
    static constexpr unsigned kMostWords = 20;
    // Words are compared so many at a time.
    static constexpr unsigned kAtOnce = 4;
    static_assert(kMostWords % kAtOnce == 0);

    struct alignas(256) Short {
        std::uintptr_t cfa;  // where it starts; 0: none
        StackId id;
        std::uint8_t words;
        bool pointer_counts;
        std::uintptr_t pointer;           // the frame pointer's value at its start, if that counts
        std::uint16_t at[kMostWords];     // in words from the first return address on
        std::uintptr_t word[kMostWords];  // behind the last, up to kAtOnce, the first again
    };
    struct Table {
        Short shorts[std::size_t{1} << kBits];
        LastStack last;
    };

    Short &short_at(const Return &to) const {
        return table_->shorts[((to.cfa ^ to.pc << 20) * 0x9E3779B97F4A7C15) >> (64 - kBits)];
    }
    void keep_short(const Return &from, StackId id);
    void clear();

    void enter(std::uintptr_t frame) {
        free_below_ = ~frame;
        std::atomic_signal_fence(std::memory_order_seq_cst);
    }
    void leave() {
        std::atomic_signal_fence(std::memory_order_seq_cst);
        free_below_ = kAll;
    }

    Table *table_ = nullptr;
    // The complement of the frame that a walk is underway from. Zero, as there is no frame above all, while there is no
    // table.
    static constexpr std::uintptr_t kAll = UINTPTR_MAX;
    std::uintptr_t free_below_ = 0;
    std::uint64_t changes_ = 0;
};

}  // namespace hakmem
