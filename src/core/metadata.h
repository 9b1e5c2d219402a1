// Memory for the allocator's own records (spans, regions): bump-allocated from the OS, given out zeroed, reused by
// kind, never unmapped. Not synchronized: the page heap's lock is.
#pragma once

#include <cstddef>

#include "base/bits.h"
#include "os/pages.h"

namespace hakmem {

class MetadataArena {
  public:
    // `bytes` of zeroed memory aligned to a cache line; nullptr if the OS has none.
    void *allocate(std::size_t bytes) {
        bytes = align_up(bytes, kAlignment);
        if (bytes > left_) {
            const std::size_t chunk = bytes > kChunkBytes ? align_up(bytes, os::kPageBytes) : kChunkBytes;
            void *fresh = os::map(chunk);
            if (fresh == nullptr) return nullptr;
            add(fresh, chunk);
        }
        void *result = next_;
        next_ += bytes;
        left_ -= bytes;
        return result;
    }

    // Goes on in this zeroed memory; what is left of the last is lost.
    void add(void *memory, std::size_t bytes) {
        next_ = static_cast<char *>(memory);
        left_ = bytes;
    }

  private:
    static constexpr std::size_t kAlignment = 64;
    static constexpr std::size_t kChunkBytes = std::size_t{1} << 18;

    char *next_ = nullptr;
    std::size_t left_ = 0;
};

}  // namespace hakmem
