// The back end: pages for spans, runs and mappings, cut from units of 2 MiB, and their way back to the OS.
//
// Three sizes of demand: up to kMaxRunPages from a Region (first fit, pages that are resident already before fresh
// ones), more from whole units, and beyond kDirectBytes from a mapping of its own that goes back at once. Free memory
// stays resident for a while: a run freed and asked for again costs no page fault. What nobody asked for within
// kDecayMs, or whatever exceeds the cap, is discarded. One lock for all of it; no lock is taken under it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bitmap.h"
#include "core/metadata.h"
#include "core/page_map.h"
#include "core/span.h"
#include "os/lock.h"
#include "segment/layout.h"

namespace hakmem {

class PageHeap {
  public:
    static constexpr unsigned kMaxRunPages = 256;  // 1 MiB
    static constexpr std::size_t kDirectBytes = std::size_t{64} << 20;

    // A span of `size_class`, its slots not yet carved. nullptr if memory is short.
    Span *allocate_small(unsigned size_class);
    // At least `bytes` (page multiple) for one block. `zeroed` in the span tells whether it needs clearing.
    Span *allocate_run(std::size_t bytes);
    // The span's pages and record go back; nobody may use them any more.
    void release(Span *span);

    // Makes the block larger without moving it: true if [start, start + bytes) is now the span's.
    bool grow_in_place(Span *span, std::size_t bytes);
    // Cuts the span down to `bytes` (page multiple).
    void shrink_in_place(Span *span, std::size_t bytes);

    // Everything free goes back to the OS now; true if there was anything.
    bool discard_all();

    // Called under the lock after the sizes changed; may only store. Null: nobody asks.
    void (*on_change)(const segment::HeapGauges &) = nullptr;

    segment::HeapGauges gauges() const { return gauges_; }

    Lock &lock() { return lock_; }

  private:
    static constexpr unsigned kBuckets = 10;  // by log2 of a region's longest free run
    static constexpr std::uint64_t kDecayMs = 1000;
    static constexpr std::uint64_t kDecayCheckMs = 100;
    // Free memory that stays resident: half of what is in use, as a program that replaces its blocks asks for it again;
    // and at least this, less once the heap has been large, so that most of a large burst goes back at once.
    static constexpr std::size_t kLeastCap = std::size_t{96} << 20, kLeastCapOfLarge = std::size_t{64} << 20;
    static constexpr std::size_t kLargeHeap = std::size_t{512} << 20;
    // From this size of the heap on, regions are worth huge pages: one fault instead of 512, and the memory that a
    // region's untouched pages waste no longer weighs. Blocks of whole units are left alone: programs reserve large
    // buffers that they never fill.
    static constexpr std::size_t kHugePageFloor = std::size_t{256} << 20;
    static constexpr std::size_t kFirstGrowUnits = 2, kMaxGrowUnits = 32;

    // A Region with what only the page heap may touch.
    struct ManagedRegion : Region {
        Bitmap<kPagesInUnit> free;   // page is in no span
        Bitmap<kPagesInUnit> stale;  // page is free and resident, with old contents
        unsigned longest;
        unsigned free_pages;
        unsigned stale_pages;
        std::uint64_t stale_since_ms;
        ManagedRegion *prev, *next;              // bucket
        ManagedRegion *stale_prev, *stale_next;  // regions with stale pages, oldest first
        bool in_bucket, in_stale;
    };

    // Whole free units, neighbours merged when both are stale or both fresh. A stale one holds old contents on an
    // estimated `resident` bytes; a fresh one on none.
    struct Extent {
        std::uintptr_t start;
        std::size_t units;
        std::size_t resident;
        std::uint64_t since_ms;
        bool stale() const { return resident != 0; }
        // Cuts the first `count` units off; what they hold.
        std::size_t cut(std::size_t count);
    };

    void *new_record(std::size_t bytes);
    Span *new_span(SpanKind kind, unsigned bitmap_words);
    void drop_span(Span *span);
    Span *span_from_region(std::size_t pages, SpanKind kind, unsigned size_class);
    Span *run_from_units(std::size_t bytes);
    bool take_pages(ManagedRegion *region, unsigned first, unsigned pages);
    void give_pages(ManagedRegion *region, unsigned first, unsigned pages);
    ManagedRegion *find_region(unsigned pages);
    ManagedRegion *new_region();
    void rebucket(ManagedRegion *region);
    void unbucket(ManagedRegion *region);
    void enlist_stale(ManagedRegion *region);
    void delist_stale(ManagedRegion *region);
    void discard_region(ManagedRegion *region);
    void retire_region(ManagedRegion *region);

    // Units from the free extents or the OS; `resident` tells how much of them holds old contents. 0 if memory is
    // short.
    std::uintptr_t take_units(std::size_t units, std::size_t &resident);
    bool take_units_at(std::uintptr_t start, std::size_t units);
    void give_units(std::uintptr_t start, std::size_t units, std::size_t resident);
    bool map_units(std::size_t units);
    void insert_extent(std::uintptr_t start, std::size_t units, std::size_t resident, std::uint64_t since_ms);
    void remove_extent(std::size_t index);
    bool discard_extent(std::size_t index, std::size_t units);
    void discard_down_to(std::size_t left);

    void decay(bool everything);
    std::size_t resident_cap() const;
    void changed() {
        if (on_change != nullptr) on_change(gauges_);
    }

    Lock lock_;
    MetadataArena arena_;
    Span *free_spans_[8] = {};  // by log2 of bitmap words, 0 words apart
    ManagedRegion *free_regions_ = nullptr;
    ManagedRegion *buckets_[kBuckets] = {};
    ManagedRegion *stale_head_ = nullptr, *stale_tail_ = nullptr;
    Extent *extents_ = nullptr;
    std::size_t extent_count_ = 0, extent_room_ = 0;
    std::size_t grow_units_ = 0;
    std::uint64_t next_decay_ms_ = 0;
    segment::HeapGauges gauges_ = {};
    std::size_t peak_block_bytes_ = 0;
    std::size_t largest_run_bytes_ = 0;  // of whole units that was ever asked for, about
};

extern constinit PageHeap page_heap;

}  // namespace hakmem
