// The calling thread's own stack, as far as it is known to be readable: from the deepest frame seen to its upper end.
// Nothing is asked again, so that whoever walks a stack needn't fear what a broken chain of frames leads to.
#pragma once

#include <cstdint>

namespace hakmem {

class OwnStack {
  public:
    // Fast path: known already.
    bool covers(std::uintptr_t frame) const { return begin_ <= frame && frame < end_; }
    // The same, after a look at the pages above a frame that is deeper than all before; at so many of them at a time
    // that it may take some calls. False: not yet, or it is on a stack of some other kind.
    bool reaches(std::uintptr_t frame);
    std::uintptr_t end() const { return end_; }

  private:
    std::uintptr_t begin_ = 0, end_ = 0;
    std::uintptr_t floor_ = 0;  // what is below can't be read
    bool is_firsts_ = false;    // the process's first thread has it
};

}  // namespace hakmem
