// A thread's stack as it was walked last, the outermost frame first. The next one differs from it at the inner end, for
// the most part: it is walked by the rules (stack_walk.h) to the first frame that was there before. From there outwards
// one look at each place where a return address stood shows whether it still stands there, and these loads wait for
// nothing, while a walk waits at each frame for the one below. It is the same indeed, as each address's rule says where
// the next one stands; where a rule goes by the frame pointer, the place where that was saved is looked at too.
//
// Any part of it has a key at once (StackTable::Key). All-zero is a valid start.
#pragma once

#include <algorithm>
#include <cstdint>

#include "diag/backtrace.h"
#include "diag/stack_table.h"
#include "diag/stack_walk.h"

namespace hakmem {

class LastStack {
  public:
    // Goes over to the stack of `frame`. As walk_stack, with the same return addresses: whole where it says done,
    // else it stays what it was. More than `depth` may lie in it, but only these have been looked at.
    Return::Step walk(std::uintptr_t frame, std::uintptr_t end, unsigned depth);

    // Of the stack that walk has found: return addresses of others than ours, at most so many of them, from inside.
    unsigned frames(unsigned depth) const { return std::min(others(), depth); }
    StackTable::Key key(unsigned depth) const {
        const unsigned count = frames(depth);
        return StackTable::Key::between(sum_[others()], sum_[others() - count], count);
    }

    // It is no longer than that, down to the outermost.
    bool is_whole(unsigned depth) const { return whole_ && others() <= depth; }
    // Where it is: f(place on the stack, the word that has to be there) for all that it takes for the same stack to be
    // there again, besides where it starts and, if pointer_counts, the frame pointer's value there.
    template <class F>
    void for_each_word(F f) const {
        for (unsigned i = size_; i-- > 0;) {
            f(place_[i], pc_[i]);
            if (is_checked(i)) f(saved_[i], pointer_[i - 1]);
        }
    }
    unsigned words() const { return size_ + checked_[size_]; }
    bool pointer_counts() const { return (flags_[size_ - 1] & kPointerCounts) != 0; }
    std::uintptr_t pointer() const { return pointer_[size_ - 1]; }

    void forget() { size_ = 0; }

    static constexpr unsigned kMostFrames = 256;

  private:
    using Step = Return::Step;

    // What a walk has come by and what is not there yet, from inside.
    struct Fresh {
        std::uintptr_t place, pc, pointer, saved;
        bool by_pointer;
    };

    unsigned others() const { return size_ - ours_; }
    bool is_checked(unsigned i) const { return checked_[i + 1] != checked_[i]; }
    bool is_at(unsigned i, const Return &to) const {
        return place_[i] == to.cfa - Return::kWord && pc_[i] == to.pc &&
               ((flags_[i] & kPointerCounts) == 0 || pointer_[i] == to.pointer);
    }
    // The first one outside the `inside`th, down to `last`, that is not there any more; kNone if all are.
    static constexpr unsigned kNone = ~0u;
    unsigned first_gone(unsigned inside, unsigned last) const;
    unsigned put(unsigned stay, unsigned fresh);

    unsigned size_ = 0;
    unsigned ours_ = 0;   // of these, at the inner end
    bool whole_ = false;  // the first one is the outermost

    // A frame each; of the return into it:
    std::uintptr_t place_[kMostFrames] = {};    // where the return address stands
    std::uintptr_t pc_[kMostFrames] = {};       // which
    std::uintptr_t pointer_[kMostFrames] = {};  // the frame pointer's value, right where kPointerCounts is set
    std::uintptr_t saved_[kMostFrames] = {};    // where the next outer one's stands; 0: it is the same
    std::uint8_t flags_[kMostFrames] = {};
    static constexpr std::uint8_t kByPointer = 1, kPointerCounts = 2;  // by its own rule; for where any outer one is
    std::uint64_t sum_[kMostFrames + 1] = {};                          // of the addresses up to there
    std::uint16_t checked_[kMostFrames + 1] = {};  // and of those that saved what counts further out

    Fresh fresh_[kMostFrames] = {};
};

}  // namespace hakmem
