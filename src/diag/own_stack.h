// The calling thread's own stack, as far as it is known to be readable: from the deepest frame seen to its upper end.
// Nothing is asked again, so that whoever walks a stack needn't fear what a broken chain of frames leads to.
#pragma once

#include <cstdint>

namespace hakmem {

class OwnStack {
  public:
    // Fast path: known already.
    bool covers(std::uintptr_t frame) const { return begin_ <= frame && frame < end_; }
    // The same, after a look at the pages above a frame that is deeper than all before. False: on a stack of some other
    // kind, or nobody can tell.
    bool reaches(std::uintptr_t frame);
    std::uintptr_t end() const { return end_; }

  private:
    std::uintptr_t begin_ = 0, end_ = 0;
};

}  // namespace hakmem
