// Blocks that stand alone between pages that nobody can touch: a read or write past either end, or after the free, is
// caught by the processor. For a diagnostic policy's chosen blocks; a page of address space and some system calls each.
//
// A block's span covers its data pages; the page behind them, and the one before, are out of bounds. A freed block's
// pages are out of bounds too, for as long as there are not too many of them: the one that was freed first goes first.
// Most lie in units shared with others, large ones in units of their own. One lock; none is taken under it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bitmap.h"
#include "core/block_header.h"
#include "core/header_byte.h"
#include "core/metadata.h"
#include "core/page_map.h"
#include "core/span.h"
#include "os/lock.h"
#include "os/pages.h"

namespace hakmem {

class GuardedPages {
  public:
    // In use, or freed. Each costs two of the process's memory areas, of which the kernel allows 65,530.
    static constexpr unsigned kMost = 16384;
    // Freed.
    static constexpr unsigned kMostFreed = 4096;
    static constexpr std::size_t kMostFreedBytes = std::size_t{256} << 20;  // of address space

    // A block of `bytes` against the end of its pages or, else, at their start; nullptr if there is no place or memory.
    // The block's user memory is at start + user_offset, and its header byte in front of that.
    Span *allocate(std::size_t bytes, std::size_t alignment, bool at_end);

    // A page-aligned block's header byte would be out of bounds: free asks the page map about those.
    static bool has_header(std::uintptr_t block) { return (block & (os::kPageBytes - 1)) != 0; }
    static void mark(void *block) {
        if (has_header(address_of(block))) header_byte::store(block, BlockHeader::kGuarded);
    }

    // The block is being freed: true for the first who says so.
    static bool claim(Span *span) { return !span->freed.exchange(true); }

    // It was: whoever touches it from now on is caught.
    void forbid(Span *span);

    // Blocks that are not freed, and the pages that they may use.
    unsigned in_use() const { return in_use_.load(std::memory_order_relaxed); }
    std::size_t bytes_in_use() const { return bytes_in_use_.load(std::memory_order_relaxed); }

    // The block whose guard page or freed memory lies at `address`; nullptr if there is none.
    static Span *accused(std::uintptr_t address);

    // Lets the program touch the page of `address` after all, so that it can go on. Only where somebody is accused.
    static bool permit(std::uintptr_t address);

    Lock &lock() { return lock_; }

  private:
    static constexpr std::size_t kMostShared = kUnitBytes / 2;

    struct Pool : Region {
        Bitmap<kPagesInUnit> free;
        Pool *next;
        std::atomic<bool> touched;  // by a program that was let in: not all of what looks unused is closed and zero
    };

    bool new_pool();
    Span *new_span();
    void drop_span(Span *span);
    Span *place_in(Pool *pool, unsigned pages, unsigned from);
    Span *place(unsigned pages);
    Span *place_apart(std::size_t bytes);
    void recycle_oldest();

    Lock lock_;
    MetadataArena arena_;
    Pool *pools_ = nullptr;
    Span *unused_spans_ = nullptr;
    unsigned used_ = 0;
    std::atomic<unsigned> in_use_{0};
    std::atomic<std::size_t> bytes_in_use_{0};
    // Places are used in turns.
    Pool *next_pool_ = nullptr;
    unsigned next_page_ = 1;
    // Freed blocks, linked by all.next.
    Span *oldest_ = nullptr;
    Span *youngest_ = nullptr;
    unsigned freed_ = 0;
    std::size_t freed_bytes_ = 0;
};

extern constinit GuardedPages guarded_pages;

}  // namespace hakmem
