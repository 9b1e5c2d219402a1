// Blocks that stand alone between pages that nobody can touch: a read or write past either end, or after the free, is
// caught by the processor. For a diagnostic policy's samples; a page of address space and some system calls each.
//
// A block's span covers its data pages; the page behind them, and the one before, are out of bounds. A freed block's
// pages are out of bounds too, until `recycle` lets the place go. One lock; none is taken under it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bitmap.h"
#include "core/metadata.h"
#include "core/page_map.h"
#include "core/span.h"
#include "os/lock.h"

namespace hakmem {

class GuardedPages {
  public:
    static constexpr std::size_t kMostBytes = std::size_t{1} << 20;  // half a unit
    // Each costs two of the process's memory areas, of which the kernel allows 65,530.
    static constexpr unsigned kMost = 16384;

    // A block of `bytes` against the end of its pages or, else, at their start; nullptr if there is no place or memory.
    // The block's user memory is at start + user_offset.
    Span *allocate(std::size_t bytes, std::size_t alignment, bool at_end);

    // The block was freed: whoever touches it from now on is caught.
    static void forbid(Span *span);

    // The place may be used again.
    void recycle(Span *span);

    // The block whose guard page or freed memory lies at `address`; nullptr if there is none.
    static Span *accused(std::uintptr_t address);

    // Lets the program touch the page of `address` after all, so that it can go on.
    static bool permit(std::uintptr_t address);

    Lock &lock() { return lock_; }

  private:
    struct Pool : Region {
        Bitmap<kPagesInUnit> free;
        Pool *next;
    };

    Pool *new_pool();
    Span *place_in(Pool *pool, unsigned pages);

    Lock lock_;
    MetadataArena arena_;
    Pool *pools_ = nullptr;
    Span *unused_spans_ = nullptr;
    unsigned used_ = 0;
    unsigned next_page_ = 1;  // places are used in turns, so that a freed one stays out of use for long
};

extern constinit GuardedPages guarded_pages;

}  // namespace hakmem
