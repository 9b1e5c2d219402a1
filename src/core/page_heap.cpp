#include "core/page_heap.h"

#include <bit>
#include <cstring>

#include "base/bits.h"
#include "core/notes.h"

namespace hakmem {

constinit PageHeap page_heap;

namespace {

constexpr unsigned kNoBitmapIndex = 7;

constexpr unsigned bitmap_index(unsigned words) {
    return words == 0 ? kNoBitmapIndex : static_cast<unsigned>(std::bit_width(words - 1));
}

constexpr unsigned bucket_of(unsigned longest) { return static_cast<unsigned>(std::bit_width(longest)) - 1; }
static_assert(bucket_of(kPagesInUnit) == 9);

constexpr std::size_t units_for(std::size_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes; }

constexpr unsigned words_for_class(unsigned size_class) { return (size_classes::slots_in_span(size_class) + 63) / 64; }
static_assert(bitmap_index(words_for_class(0)) < kNoBitmapIndex);

}  // namespace

// ---- records ----

void *PageHeap::new_record(std::size_t bytes) {
    if (void *record = arena_.allocate(bytes)) return record;
    // The process may map no more, but what is free need not stay the blocks'.
    std::size_t resident = 0;
    const std::uintptr_t unit = take_units(1, resident);
    if (unit == 0) return nullptr;
    void *memory = pointer_to(unit);
    if (resident != 0 && !os::discard(memory, kUnitBytes)) std::memset(memory, 0, kUnitBytes);
    page_map.set(unit, 1, 0);
    arena_.add(memory, kUnitBytes);
    return arena_.allocate(bytes);
}

Span *PageHeap::new_span(SpanKind kind, unsigned bitmap_words) {
    const unsigned index = bitmap_index(bitmap_words);
    const unsigned room = index == kNoBitmapIndex ? 0 : 1u << index;
    Span *span = free_spans_[index];
    if (span != nullptr) {
        free_spans_[index] = span->all.next;
    } else {
        span = static_cast<Span *>(new_record(sizeof(Span) + 2 * room * sizeof(std::uint64_t)));
        if (span == nullptr) return nullptr;
        span->remote_bits = reinterpret_cast<std::atomic<std::uint64_t> *>(span->free_bits() + room);
    }
    std::memset(static_cast<void *>(span->free_bits()), 0, 2 * room * sizeof(std::uint64_t));
    span->size_class = 0;
    span->in_partial = false;
    span->zeroed = span->watched = false;
    span->note.clear();
    span->user_offset = 0;
    span->slots = span->carved = span->free_count = 0;
    span->words = bitmap_words;
    span->owner.store(nullptr, std::memory_order_relaxed);
    span->remote_count.store(0, std::memory_order_relaxed);
    span->remote_posted.store(false, std::memory_order_relaxed);
    span->partial = span->all = {nullptr, nullptr};
    span->kind = kind;
    return span;
}

void PageHeap::drop_span(Span *span) {
    span->kind = SpanKind::unused;
    Span *&head = free_spans_[bitmap_index(span->words)];
    span->all.next = head;
    head = span;
}

// ---- demand ----

Span *PageHeap::allocate_small(unsigned size_class) {
    LockGuard guard(lock_);
    return span_from_region(size_classes::kSpanPages, SpanKind::small, size_class);
}

Span *PageHeap::allocate_run(std::size_t bytes) {
    const std::size_t pages = bytes / os::kPageBytes;
    LockGuard guard(lock_);
    return pages <= kMaxRunPages ? span_from_region(pages, SpanKind::run, 0) : run_from_units(bytes);
}

Span *PageHeap::span_from_region(std::size_t pages, SpanKind kind, unsigned size_class) {
    const unsigned wanted = static_cast<unsigned>(pages);
    ManagedRegion *region = find_region(wanted);
    if (region == nullptr && (region = new_region()) == nullptr) return nullptr;
    Span *span = new_span(kind, kind == SpanKind::small ? words_for_class(size_class) : 0);
    if (span == nullptr) return nullptr;
    if (kind == SpanKind::small) {
        span->size_class = static_cast<std::uint8_t>(size_class);
        span->slots = size_classes::slots_in_span(size_class);
    }

    // Resident pages first: they cost no fault, and fresh ones stay unborn.
    unsigned first = region->stale_pages >= wanted ? region->stale.find_run(wanted) : region->stale.kNone;
    if (first == region->stale.kNone) first = region->free.find_run(wanted);
    span->start = region->start + first * os::kPageBytes;
    span->bytes = wanted * os::kPageBytes;
    span->zeroed = take_pages(region, first, wanted);
    region->give(first, wanted, PageEntry::of(span));
    gauges_.block_bytes += span->bytes;
    decay(false);
    changed();
    return span;
}

Span *PageHeap::run_from_units(std::size_t bytes) {
    const std::size_t units = units_for(bytes);
    Span *span = new_span(SpanKind::mapping, 0);
    if (span == nullptr) return nullptr;
    std::size_t resident = 0;
    std::uintptr_t start = 0;
    if (bytes > kDirectBytes) {
        start = address_of(os::map(bytes, kUnitBytes));
        if (start != 0 && !page_map.reserve(start, units)) {
            os::unmap(pointer_to(start), bytes);
            start = 0;
        }
        if (start != 0) gauges_.mapped_bytes += bytes;
    } else {
        start = take_units(units, resident);
    }
    if (start == 0) {
        drop_span(span);
        return nullptr;
    }
    span->start = start;
    span->bytes = bytes;
    span->zeroed = resident == 0;
    page_map.set(start, units, address_of(span) | PageMap::Entry::kSpan);
    gauges_.block_bytes += bytes;
    if (bytes > largest_run_bytes_ + largest_run_bytes_ / 4) {
        // A buffer that grows by moving to ever larger blocks leaves too small ones behind: they pay for it. What isn't
        // larger than all before may come again, and finds what it left.
        largest_run_bytes_ = bytes;
        const std::size_t fresh = bytes > resident ? bytes - resident : 0;
        const std::size_t stale = gauges_.resident_free_bytes;
        discard_down_to(stale > fresh ? stale - fresh : 0);
    }
    decay(false);
    changed();
    return span;
}

void PageHeap::release(Span *span) {
    LockGuard guard(lock_);
    if (span->kind == SpanKind::small && span->watched) drop_notes(span);
    gauges_.block_bytes -= span->bytes;
    if (span->kind == SpanKind::mapping) {
        const std::size_t units = units_for(span->bytes);
        if (span->bytes > kDirectBytes) {
            page_map.set(span->start, units, 0);
            os::unmap(pointer_to(span->start), span->bytes);
            gauges_.mapped_bytes -= span->bytes;
        } else {
            give_units(span->start, units, span->bytes);
        }
    } else {
        auto *region = static_cast<ManagedRegion *>(page_map.find(span->start).region());
        const unsigned first = static_cast<unsigned>((span->start - region->start) / os::kPageBytes);
        give_pages(region, first, static_cast<unsigned>(span->bytes / os::kPageBytes));
    }
    drop_span(span);
    decay(false);
    changed();
}

bool PageHeap::grow_in_place(Span *span, std::size_t bytes) {
    LockGuard guard(lock_);
    if (span->kind == SpanKind::run) {
        auto *region = static_cast<ManagedRegion *>(page_map.find(span->start).region());
        const unsigned end = static_cast<unsigned>((span->end() - region->start) / os::kPageBytes);
        if ((bytes - span->bytes) / os::kPageBytes > kPagesInUnit - end) return false;
        const unsigned more = static_cast<unsigned>((bytes - span->bytes) / os::kPageBytes);
        if (region->free.count_in(end, more) != more) return false;
        take_pages(region, end, more);
        region->give(end, more, PageEntry::of(span));
    } else {
        if (span->bytes > kDirectBytes || bytes > kDirectBytes) return false;
        const std::size_t have = units_for(span->bytes), want = units_for(bytes);
        if (want > have) {
            if (!take_units_at(span->start + have * kUnitBytes, want - have)) return false;
            page_map.set(span->start + have * kUnitBytes, want - have, address_of(span) | PageMap::Entry::kSpan);
        }
    }
    gauges_.block_bytes += bytes - span->bytes;
    span->bytes = bytes;
    changed();
    return true;
}

void PageHeap::shrink_in_place(Span *span, std::size_t bytes) {
    LockGuard guard(lock_);
    if (span->kind == SpanKind::run) {
        auto *region = static_cast<ManagedRegion *>(page_map.find(span->start).region());
        const unsigned begin = static_cast<unsigned>((span->start + bytes - region->start) / os::kPageBytes);
        give_pages(region, begin, static_cast<unsigned>((span->bytes - bytes) / os::kPageBytes));
    } else {
        if (span->bytes > kDirectBytes) return;
        const std::size_t have = units_for(span->bytes), want = units_for(bytes);
        if (want < have) give_units(span->start + want * kUnitBytes, have - want, span->bytes - want * kUnitBytes);
    }
    gauges_.block_bytes -= span->bytes - bytes;
    span->bytes = bytes;
    decay(false);
    changed();
}

// ---- pages of a region ----

// True if all of the pages are fresh.
bool PageHeap::take_pages(ManagedRegion *region, unsigned first, unsigned pages) {
    const unsigned stale = region->stale_pages == 0 ? 0 : region->stale.count_in(first, pages);
    region->free.clear(first, pages);
    region->free_pages -= pages;
    if (stale != 0) {
        region->stale.clear(first, pages);
        region->stale_pages -= stale;
        gauges_.resident_free_bytes -= stale * os::kPageBytes;
        if (region->stale_pages == 0) delist_stale(region);
    }
    rebucket(region);
    return stale == 0;
}

void PageHeap::give_pages(ManagedRegion *region, unsigned first, unsigned pages) {
    region->give(first, pages, {0});
    region->free.set(first, pages);
    region->stale.set(first, pages);
    region->free_pages += pages;
    region->stale_pages += pages;
    gauges_.resident_free_bytes += pages * os::kPageBytes;
    enlist_stale(region);
    if (region->free_pages == kPagesInUnit)
        retire_region(region);
    else
        rebucket(region);
}

// The fullest kind of region that fits; among the first of them one that has resident pages for all of it.
PageHeap::ManagedRegion *PageHeap::find_region(unsigned pages) {
    constexpr unsigned kMostLooks = 16;
    ManagedRegion *first = nullptr;
    unsigned looks = 0;
    for (unsigned bucket = bucket_of(pages); bucket < kBuckets; ++bucket)
        for (ManagedRegion *region = buckets_[bucket]; region != nullptr; region = region->next) {
            if (region->longest < pages) continue;
            if (first == nullptr) first = region;
            if (region->stale_pages >= pages && region->stale.find_run(pages) != region->stale.kNone) return region;
            if (++looks == kMostLooks) return first;
        }
    return first;
}

PageHeap::ManagedRegion *PageHeap::new_region() {
    ManagedRegion *region = free_regions_;
    if (region != nullptr) {
        free_regions_ = region->next;
    } else {
        region = static_cast<ManagedRegion *>(new_record(sizeof(ManagedRegion)));
        if (region == nullptr) return nullptr;
    }
    std::size_t resident = 0;
    const std::uintptr_t start = take_units(1, resident);
    if (start == 0) {
        region->next = free_regions_;
        free_regions_ = region;
        return nullptr;
    }
    region->start = start;
    region->free.set(0, kPagesInUnit);
    region->stale.clear(0, kPagesInUnit);
    region->free_pages = kPagesInUnit;
    region->stale_pages = 0;
    region->prev = region->next = nullptr;
    region->in_bucket = region->in_stale = false;
    if (resident != 0) {
        region->stale.set(0, kPagesInUnit);
        region->stale_pages = kPagesInUnit;
        gauges_.resident_free_bytes += kUnitBytes;
        enlist_stale(region);
    } else if (gauges_.block_bytes >= kHugePageFloor) {
        os::prefer_huge_pages(pointer_to(start), kUnitBytes);
    }
    page_map.set(start, 1, address_of(static_cast<Region *>(region)));
    rebucket(region);
    return region;
}

void PageHeap::retire_region(ManagedRegion *region) {
    unbucket(region);
    delist_stale(region);
    gauges_.resident_free_bytes -= region->stale_pages * os::kPageBytes;
    const std::size_t resident = region->stale_pages * os::kPageBytes;
    region->stale_pages = 0;
    give_units(region->start, 1, resident);
    region->next = free_regions_;
    free_regions_ = region;
}

void PageHeap::unbucket(ManagedRegion *region) {
    if (!region->in_bucket) return;
    if (region->prev != nullptr)
        region->prev->next = region->next;
    else
        buckets_[bucket_of(region->longest)] = region->next;
    if (region->next != nullptr) region->next->prev = region->prev;
    region->in_bucket = false;
}

void PageHeap::rebucket(ManagedRegion *region) {
    const unsigned longest = region->free.longest_run();
    if (region->in_bucket && longest != 0 && bucket_of(longest) == bucket_of(region->longest)) {
        region->longest = longest;
        return;
    }
    unbucket(region);
    region->longest = longest;
    if (longest == 0) return;
    ManagedRegion *&head = buckets_[bucket_of(longest)];
    region->prev = nullptr;
    region->next = head;
    if (head != nullptr) head->prev = region;
    head = region;
    region->in_bucket = true;
}

void PageHeap::enlist_stale(ManagedRegion *region) {
    if (region->in_stale) return;
    region->stale_since_ms = os::coarse_milliseconds();
    region->stale_prev = stale_tail_;
    region->stale_next = nullptr;
    if (stale_tail_ != nullptr)
        stale_tail_->stale_next = region;
    else
        stale_head_ = region;
    stale_tail_ = region;
    region->in_stale = true;
}

void PageHeap::delist_stale(ManagedRegion *region) {
    if (!region->in_stale) return;
    if (region->stale_prev != nullptr)
        region->stale_prev->stale_next = region->stale_next;
    else
        stale_head_ = region->stale_next;
    if (region->stale_next != nullptr)
        region->stale_next->stale_prev = region->stale_prev;
    else
        stale_tail_ = region->stale_prev;
    region->in_stale = false;
}

// ---- whole units ----

void PageHeap::remove_extent(std::size_t index) { extents_[index] = extents_[--extent_count_]; }

std::size_t PageHeap::Extent::cut(std::size_t count) {
    const std::size_t share = units == count ? resident : resident / units * count;
    start += count * kUnitBytes;
    units -= count;
    resident -= share;
    return share;
}

void PageHeap::insert_extent(std::uintptr_t start, std::size_t units, std::size_t resident, std::uint64_t since_ms) {
    for (std::size_t i = 0; i < extent_count_;) {
        Extent &extent = extents_[i];
        const bool before = extent.start + extent.units * kUnitBytes == start;
        const bool after = start + units * kUnitBytes == extent.start;
        if (extent.stale() == (resident != 0) && (before || after)) {
            if (before) start = extent.start;
            units += extent.units;
            resident += extent.resident;
            if (extent.since_ms < since_ms) since_ms = extent.since_ms;
            remove_extent(i);
            i = 0;
        } else {
            ++i;
        }
    }
    if (extent_count_ == extent_room_) {
        const std::size_t room = extent_room_ == 0 ? os::kPageBytes / sizeof(Extent) : 2 * extent_room_;
        auto *bigger = static_cast<Extent *>(os::map(room * sizeof(Extent)));
        if (bigger == nullptr) {
            // No room to remember it: the memory goes back at once, the address range is lost to us but harmless.
            os::discard(pointer_to(start), units * kUnitBytes);
            return;
        }
        if (extents_ != nullptr) {
            std::memcpy(bigger, extents_, extent_count_ * sizeof(Extent));
            os::unmap(extents_, extent_room_ * sizeof(Extent));
        }
        extents_ = bigger;
        extent_room_ = room;
    }
    extents_[extent_count_++] = {start, units, resident, since_ms};
}

bool PageHeap::map_units(std::size_t units) {
    if (grow_units_ == 0) grow_units_ = kFirstGrowUnits;
    std::size_t wanted = units > grow_units_ ? units : grow_units_;
    std::uintptr_t start = address_of(os::map(wanted * kUnitBytes, kUnitBytes));
    if (start == 0 && wanted != units) {
        wanted = units;
        start = address_of(os::map(wanted * kUnitBytes, kUnitBytes));
    }
    if (start == 0) return false;
    if (!page_map.reserve(start, wanted)) {
        os::unmap(pointer_to(start), wanted * kUnitBytes);
        return false;
    }
    page_map.set(start, wanted, PageMap::Entry::kFreeUnit);
    if (grow_units_ < kMaxGrowUnits) grow_units_ *= 2;
    gauges_.mapped_bytes += wanted * kUnitBytes;
    insert_extent(start, wanted, 0, 0);
    return true;
}

std::uintptr_t PageHeap::take_units(std::size_t units, std::size_t &resident) {
    for (int attempt = 0; attempt < 2; ++attempt) {
        // Best fit, stale before fresh.
        std::size_t best = extent_count_;
        for (std::size_t i = 0; i < extent_count_; ++i) {
            if (extents_[i].units < units) continue;
            if (best == extent_count_ || (extents_[i].stale() && !extents_[best].stale()) ||
                (extents_[i].stale() == extents_[best].stale() && extents_[i].units < extents_[best].units))
                best = i;
        }
        if (best != extent_count_) {
            Extent &extent = extents_[best];
            const std::uintptr_t start = extent.start;
            resident = extent.cut(units);
            gauges_.resident_free_bytes -= resident;
            if (extent.units == 0) remove_extent(best);
            return start;
        }
        if (!map_units(units)) return 0;
    }
    return 0;
}

bool PageHeap::take_units_at(std::uintptr_t start, std::size_t units) {
    for (std::size_t i = 0; i < extent_count_; ++i) {
        Extent &extent = extents_[i];
        if (extent.start != start || extent.units < units) continue;
        gauges_.resident_free_bytes -= extent.cut(units);
        if (extent.units == 0) remove_extent(i);
        return true;
    }
    return false;
}

void PageHeap::give_units(std::uintptr_t start, std::size_t units, std::size_t resident) {
    page_map.set(start, units, PageMap::Entry::kFreeUnit);
    gauges_.resident_free_bytes += resident;
    insert_extent(start, units, resident, os::coarse_milliseconds());
}

// ---- the way back to the OS ----

void PageHeap::discard_region(ManagedRegion *region) {
    bool done = true;
    for (unsigned begin = region->stale.next_set(0); begin < kPagesInUnit;) {
        const unsigned end = region->stale.next_clear(begin);
        done &= os::discard(pointer_to(region->start + begin * os::kPageBytes), (end - begin) * os::kPageBytes);
        begin = region->stale.next_set(end);
    }
    delist_stale(region);
    if (!done) {
        // Refused (seccomp, locked memory): the contents stand. Try again a decay later.
        enlist_stale(region);
        return;
    }
    gauges_.resident_free_bytes -= region->stale_pages * os::kPageBytes;
    region->stale.clear(0, kPagesInUnit);
    region->stale_pages = 0;
}

bool PageHeap::discard_extent(std::size_t index, std::size_t units) {
    Extent &extent = extents_[index];
    const std::uintptr_t start = extent.start;
    if (!os::discard(pointer_to(start), units * kUnitBytes)) {
        extent.since_ms = os::coarse_milliseconds();
        return false;
    }
    gauges_.resident_free_bytes -= extent.cut(units);
    if (extent.units == 0) remove_extent(index);
    insert_extent(start, units, 0, 0);
    return true;
}

// Gives back until `left` bytes of free memory are resident: of the largest extents first, which are the fewest calls,
// then of regions by age.
void PageHeap::discard_down_to(std::size_t left) {
    for (std::size_t before = 0; gauges_.resident_free_bytes > left;) {
        if (before == gauges_.resident_free_bytes) break;  // the kernel refuses
        before = gauges_.resident_free_bytes;
        std::size_t best = extent_count_;
        for (std::size_t i = 0; i < extent_count_; ++i)
            if (extents_[i].stale() && (best == extent_count_ || extents_[i].resident > extents_[best].resident))
                best = i;
        if (best != extent_count_) {
            const std::size_t wanted = units_for(before - left);
            discard_extent(best, wanted < extents_[best].units ? wanted : extents_[best].units);
        } else if (stale_head_ != nullptr) {
            discard_region(stale_head_);
        }
    }
}

std::size_t PageHeap::resident_cap() const {
    const std::size_t share = gauges_.block_bytes;
    const std::size_t least = peak_block_bytes_ < kLargeHeap ? kLeastCap : kLeastCapOfLarge;
    return share > least ? share : least;
}

void PageHeap::decay(bool everything) {
    if (gauges_.block_bytes > peak_block_bytes_) peak_block_bytes_ = gauges_.block_bytes;
    const std::size_t cap = resident_cap();
    if (gauges_.resident_free_bytes == 0) return;
    const std::uint64_t now = os::coarse_milliseconds();
    const bool over = gauges_.resident_free_bytes > cap;
    if (!everything && !over && now < next_decay_ms_) return;
    next_decay_ms_ = now + kDecayCheckMs;

    const auto due = [&](std::uint64_t since_ms) { return everything || since_ms + kDecayMs <= now; };
    for (std::size_t i = 0; i < extent_count_;) {
        if (extents_[i].stale() && due(extents_[i].since_ms) && discard_extent(i, extents_[i].units))
            i = 0;
        else
            ++i;
    }
    for (const ManagedRegion *last = stale_tail_; stale_head_ != nullptr && due(stale_head_->stale_since_ms);) {
        const bool was_last = stale_head_ == last;
        discard_region(stale_head_);
        if (was_last) break;
    }

    // Down to three quarters, so that the next free does not come back here at once.
    if (gauges_.resident_free_bytes > cap) discard_down_to(cap / 4 * 3);
}

bool PageHeap::discard_all() {
    LockGuard guard(lock_);
    const bool any = gauges_.resident_free_bytes != 0;
    decay(true);
    changed();
    return any;
}

}  // namespace hakmem
