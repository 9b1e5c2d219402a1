// The back end: pages for spans, runs and mappings, cut from units of 2 MiB, and their way back to the OS.
//
// All units stand in one table by address, so that a run may take any free pages in a row, also of several units: a
// small one those of the fullest kind of unit that has room (first fit, pages that are resident already before fresh
// ones), a large one the smallest hole that fits. Beyond kDirectBytes a block has a mapping of its own that goes back
// at once. Free memory stays resident as far as the program has shown that it comes back for it; what nobody asked for
// within kDecayMs, or whatever exceeds that, is discarded. One lock for all of it; no lock is taken under it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bitmap.h"
#include "core/block_header.h"
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
    // At least `bytes` (page multiple) for one block. `zeroed` in the span tells whether it needs clearing. What is
    // `growing` is put where most room follows.
    Span *allocate_run(std::size_t bytes, bool growing = false);
    // The header of a large block, by where it starts in its span.
    static void mark(const Span *span, void *block) {
        BlockHeader::store(block, span->end() - address_of(block), BlockHeader::kRun);
    }

    // A large block is being freed: true for the first who says so, and its header says freed from then on. `span` is
    // what the page map had said, and may be another's by now.
    bool claim(Span *span, void *block);
    // The span's pages and record go back; nobody may use them any more.
    void release(Span *span);
    // Both at once.
    bool claim_and_release(Span *span, void *block);

    // Makes the block larger without moving it: true if [start, start + bytes) is now the span's.
    bool grow_in_place(Span *span, std::size_t bytes);
    // Cuts the span down to `bytes` (page multiple).
    void shrink_in_place(Span *span, std::size_t bytes);

    // Everything free goes back to the OS now; true if there was anything.
    bool discard_all();

    // From this size of the heap on, units of small blocks are worth huge pages: one fault instead of 512, and the
    // memory that untouched pages waste no longer weighs. Large blocks are left alone: programs reserve large buffers
    // that they never fill. May be set at any time, for units that are taken from then on.
    static constexpr std::size_t kHugePageFloor = std::size_t{256} << 20;
    std::atomic<std::size_t> huge_page_floor{kHugePageFloor};

    // Called under the lock after the sizes changed; may only store. Null: nobody asks.
    void (*on_change)(const segment::HeapGauges &) = nullptr;

    segment::HeapGauges gauges() const { return gauges_; }

    Lock &lock() { return lock_; }

  private:
    static constexpr unsigned kBuckets = 10;  // by log2 of a unit's longest free run
    static constexpr std::uint64_t kDecayMs = 1000;
    static constexpr std::uint64_t kDecayCheckMs = 100;
    // Free memory that stays resident: at least the first; as much as is in use or the second, whichever is more, at
    // most. In between by what was missed (keep_).
    static constexpr std::size_t kLeastKept = std::size_t{2} << 20, kMostKeptOfSmall = std::size_t{96} << 20;
    static constexpr std::size_t kFirstGrowUnits = 2, kMaxGrowUnits = 32;

    struct Unit;
    // What the page map shows of a unit; made when the unit is first used.
    struct UnitRegion : Region {
        Unit *unit;
    };

    // 2 MiB of ours, aligned.
    struct Unit {
        std::uintptr_t start;
        UnitRegion *region;
        Bitmap<kPagesInUnit> free;   // page is in no span
        Bitmap<kPagesInUnit> stale;  // page is free and resident, with old contents
        unsigned longest;            // free run
        unsigned free_pages;
        unsigned stale_pages;
        std::uint64_t stale_since_ms;
        Unit *prev, *next;              // bucket
        Unit *stale_prev, *stale_next;  // units with stale pages, by when they last got some
        bool in_bucket, in_stale;
        bool prefers_huge;
    };

    // A unit's place in the table, with the free pages at both of its ends, and how many of its pages are stale.
    struct Place {
        Unit *unit;
        std::uint16_t lead, trail, stale;
    };

    void *new_record(std::size_t bytes);
    Span *new_span(SpanKind kind, unsigned bitmap_words);
    void drop_span(Span *span);
    static bool mark_freed(Span *span, void *block);
    void take_back(Span *span);

    enum class Fit { in_one_unit, smallest, widest };
    Span *cut(std::size_t pages, SpanKind kind, unsigned size_class, Fit fit);
    Span *map_directly(std::size_t bytes);
    std::uintptr_t find_in_unit(unsigned pages);
    std::uintptr_t find_hole(std::size_t pages, Fit fit) const;
    bool make_regions(std::uintptr_t start, std::size_t pages);

    // f(place, first page, pages) for each unit that the pages lie in, until it returns false; false if it did or if
    // some are not ours.
    template <class F>
    bool for_units(std::uintptr_t start, std::size_t pages, F f);
    bool all_free(std::uintptr_t start, std::size_t pages);
    bool are_huge_pages_worth() const { return gauges_.block_bytes >= huge_page_floor.load(std::memory_order_relaxed); }
    // True if all of the pages are fresh.
    bool take(std::uintptr_t start, std::size_t pages, Span *span);
    void give(std::uintptr_t start, std::size_t pages, bool stale);

    bool map_units(std::size_t units);
    bool add_places(std::uintptr_t start, std::size_t units);
    std::size_t place_of(std::uintptr_t unit_start) const;
    void resized(Place &place);
    void unbucket(Unit *unit);
    void enlist_stale(Unit *unit);
    void delist_stale(Unit *unit);

    void discard_unit(Unit *unit);
    // Whether what was freed or asked for is large. A buffer that grows by moving frees large blocks, and what is asked
    // for next is small or still larger: no reason to keep the old ones.
    static constexpr unsigned kind_of(std::size_t pages) { return pages > kMaxRunPages; }
    // Called after `pages` came or went.
    void decay(std::size_t pages, bool everything);
    std::size_t resident_cap() const;
    void missed(std::size_t pages, std::size_t fresh_bytes);
    void changed() {
        if (on_change != nullptr) on_change(gauges_);
    }

    Lock lock_;
    MetadataArena arena_;
    Span *free_spans_[8] = {};    // by log2 of bitmap words, 0 words apart
    Unit *free_units_ = nullptr;  // records
    Unit *buckets_[kBuckets] = {};
    Unit *stale_head_ = nullptr, *stale_tail_ = nullptr;
    Place *places_ = nullptr;  // by address
    std::size_t place_count_ = 0, place_room_ = 0;
    std::size_t grow_units_ = 0;
    std::uint64_t next_decay_ms_ = 0;
    segment::HeapGauges gauges_ = {};
    // How much free memory is kept resident by experience: more whenever fresh pages are asked for soon after as many
    // were discarded, less when what was kept has aged. And how much was discarded lately, by kind_of() what was freed.
    std::size_t keep_ = kLeastKept;
    std::size_t peak_block_bytes_ = 0;
    std::size_t discarded_[2] = {};
    std::uint64_t discarded_ms_ = 0;
};

extern constinit PageHeap page_heap;

}  // namespace hakmem
