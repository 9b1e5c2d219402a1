// The calling thread's own stack, as far as it is known to be readable: from the deepest frame seen to its upper end.
// Nothing is asked again, so that whoever walks a stack needn't fear what a broken chain of frames leads to.
#pragma once

#include <cstdint>

namespace hakmem {

class OwnStack {
  public:
    // Fast path: known already.
    bool covers(std::uintptr_t frame) const { return known_.begin <= frame && frame < known_.end; }
    // The same, after a look at the pages above a frame that is deeper than all before; at so many of them at a time
    // that it may take some calls. False: not yet, or it is on a stack of some other kind.
    bool reaches(std::uintptr_t frame);
    // Of what the last frame was found on.
    std::uintptr_t end() const { return known_.end; }

  private:
    struct Part {
        std::uintptr_t begin, end;
        std::uintptr_t floor;  // what is below can't be read
    };

    Part known_{};
    // Below the thread's record, as its stack is or some coroutine's; and below what the kernel has put above the first
    // thread's.
    Part parts_[2] = {};
};

}  // namespace hakmem
