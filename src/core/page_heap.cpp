#include "core/page_heap.h"

#include <algorithm>
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

constexpr std::uintptr_t unit_start(std::uintptr_t address) { return address & ~(kUnitBytes - 1); }

constexpr unsigned page_in_unit(std::uintptr_t address) {
    return static_cast<unsigned>(address % kUnitBytes / os::kPageBytes);
}

constexpr std::size_t units_for(std::size_t bytes) { return (bytes + kUnitBytes - 1) / kUnitBytes; }

constexpr unsigned words_for_class(unsigned size_class) { return (size_classes::slots_in_span(size_class) + 63) / 64; }
static_assert(bitmap_index(words_for_class(0)) < kNoBitmapIndex);

}  // namespace

// ---- records ----

void *PageHeap::new_record(std::size_t bytes) {
    if (void *record = arena_.allocate(bytes)) return record;
    // The process may map no more, but what is free need not stay the blocks'.
    Unit *unit = buckets_[bucket_of(kPagesInUnit)];
    if (unit == nullptr) return nullptr;
    void *memory = pointer_to(unit->start);
    if (unit->stale_pages != 0 && !os::discard(memory, kUnitBytes)) std::memset(memory, 0, kUnitBytes);
    unbucket(unit);
    delist_stale(unit);
    gauges_.resident_free_bytes -= unit->stale_pages * os::kPageBytes;
    page_map.set(unit->start, 1, 0);
    const std::size_t place = place_of(unit->start);
    std::memmove(places_ + place, places_ + place + 1, (--place_count_ - place) * sizeof(Place));
    unit->next = free_units_;
    free_units_ = unit;
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
    span->zeroed = span->watched = span->emptied = false;
    span->notes.store(nullptr, std::memory_order_relaxed);
    span->single_notes = 0;
    span->note.clear();
    span->user_offset = 0;
    span->slots = span->carved = span->free_count = span->fresh_pages = 0;
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
    return cut(size_classes::kSpanPages, SpanKind::small, size_class, Fit::in_one_unit);
}

Span *PageHeap::allocate_run(std::size_t bytes, bool growing) {
    LockGuard guard(lock_);
    if (bytes > kDirectBytes) return map_directly(bytes);
    return cut(bytes / os::kPageBytes, SpanKind::run, 0, growing ? Fit::widest : Fit::smallest);
}

Span *PageHeap::cut(std::size_t pages, SpanKind kind, unsigned size_class, Fit fit) {
    const bool small = kind == SpanKind::small;
    std::uintptr_t start = 0;
    if (pages <= kMaxRunPages && fit != Fit::widest) start = find_in_unit(static_cast<unsigned>(pages));
    if (start == 0) start = find_hole(pages, fit);
    if (start == 0) {
        if (!map_units(units_for(pages * os::kPageBytes))) return nullptr;
        start = find_hole(pages, fit);
        if (start == 0) return nullptr;
    }
    const std::size_t places = place_count_;
    Span *span = new_span(kind, small ? words_for_class(size_class) : 0);
    if (span == nullptr) return nullptr;
    // Records may have come from free units, this one too.
    if (!make_regions(start, pages) || (place_count_ != places && !all_free(start, pages))) {
        drop_span(span);
        return nullptr;
    }
    if (small) {
        span->size_class = static_cast<std::uint8_t>(size_class);
        span->slots = size_classes::slots_in_span(size_class);
    }
    span->start = start;
    span->bytes = pages * os::kPageBytes;
    span->zeroed = take(start, pages, span);
    gauges_.block_bytes += span->bytes;
    decay(pages, false);
    changed();
    return span;
}

Span *PageHeap::map_directly(std::size_t bytes) {
    const std::size_t units = units_for(bytes);
    Span *span = new_span(SpanKind::mapping, 0);
    if (span == nullptr) return nullptr;
    const std::uintptr_t start = address_of(os::map(bytes, kUnitBytes));
    if (start == 0 || !page_map.reserve(start, units)) {
        if (start != 0) os::unmap(pointer_to(start), bytes);
        drop_span(span);
        return nullptr;
    }
    gauges_.mapped_bytes += bytes;
    span->start = start;
    span->bytes = bytes;
    span->zeroed = true;
    page_map.set(start, units, address_of(span) | PageMap::Entry::kSpan);
    gauges_.block_bytes += bytes;
    changed();
    return span;
}

namespace {

// From the span's start on; what lies behind has not been written since it was cut.
std::size_t touched_pages(const Span *span) {
    if (span->emptied) return 1;
    const std::size_t pages = span->bytes / os::kPageBytes;
    if (span->kind != SpanKind::small) return pages;
    const std::size_t carved = span->slot(span->carved) - span->start;
    return std::max<std::size_t>(pages - span->fresh_pages, align_up(carved, os::kPageBytes) / os::kPageBytes);
}

}  // namespace

// Under the lock: until it is taken back by somebody who holds that too, the memory is the block's.
bool PageHeap::mark_freed(Span *span, void *block) {
    if (page_map.span_of(address_of(block)) != span || span->start + span->user_offset != address_of(block) ||
        BlockHeader::load(block).marker != BlockHeader::kRun)
        return false;
    BlockHeader::mark_freed(block);
    return true;
}

bool PageHeap::claim(Span *span, void *block) {
    LockGuard guard(lock_);
    return mark_freed(span, block);
}

bool PageHeap::claim_and_release(Span *span, void *block) {
    LockGuard guard(lock_);
    if (!mark_freed(span, block)) return false;
    take_back(span);
    return true;
}

void PageHeap::release(Span *span) {
    LockGuard guard(lock_);
    take_back(span);
}

void PageHeap::take_back(Span *span) {
    if (span->kind == SpanKind::small && span->watched) drop_notes(span);
    gauges_.block_bytes -= span->bytes;
    const std::size_t pages = span->bytes / os::kPageBytes;
    if (span->kind == SpanKind::mapping) {
        page_map.set(span->start, units_for(span->bytes), 0);
        os::unmap(pointer_to(span->start), span->bytes);
        gauges_.mapped_bytes -= span->bytes;
    } else {
        const std::size_t touched = touched_pages(span);
        give(span->start, touched, true);
        if (touched != pages) give(span->start + touched * os::kPageBytes, pages - touched, false);
    }
    drop_span(span);
    decay(pages, false);
    changed();
}

bool PageHeap::grow_in_place(Span *span, std::size_t bytes) {
    if (span->kind != SpanKind::run || bytes > kDirectBytes) return false;
    LockGuard guard(lock_);
    const std::size_t more = (bytes - span->bytes) / os::kPageBytes;
    if (!all_free(span->end(), more) || !make_regions(span->end(), more) || !all_free(span->end(), more)) return false;
    take(span->end(), more, span);
    gauges_.block_bytes += bytes - span->bytes;
    span->bytes = bytes;
    changed();
    return true;
}

void PageHeap::shrink_in_place(Span *span, std::size_t bytes) {
    if (span->kind != SpanKind::run) return;
    LockGuard guard(lock_);
    const std::size_t pages = (span->bytes - bytes) / os::kPageBytes;
    give(span->start + bytes, pages, true);
    gauges_.block_bytes -= span->bytes - bytes;
    span->bytes = bytes;
    decay(pages, false);
    changed();
}

// ---- where there is room ----

// Pages in a unit of the fullest kind that has room; among the first of those, or else of those that last got some, one
// with resident pages for all of it: they cost no fault, and fresh ones stay unborn. Fresh pages of units that are free
// altogether are left to find_hole. 0 if none.
std::uintptr_t PageHeap::find_in_unit(unsigned pages) {
    constexpr unsigned kMostLooks = 16;
    const auto resident_in = [pages](const Unit *unit) -> std::uintptr_t {
        const unsigned first = unit->stale_pages >= pages ? unit->stale.find_tightest_run(pages) : unit->stale.kNone;
        return first != unit->stale.kNone ? unit->start + first * os::kPageBytes : 0;
    };
    const Unit *found = nullptr;
    unsigned looks = 0;
    for (unsigned bucket = bucket_of(pages); bucket < bucket_of(kPagesInUnit) && looks < kMostLooks; ++bucket)
        for (const Unit *unit = buckets_[bucket]; unit != nullptr && looks < kMostLooks; unit = unit->next) {
            if (unit->longest < pages) continue;
            if (found == nullptr) found = unit;
            if (const std::uintptr_t start = resident_in(unit)) return start;
            ++looks;
        }
    looks = 0;
    for (const Unit *unit = stale_tail_; unit != nullptr && looks < kMostLooks; unit = unit->stale_prev, ++looks)
        if (const std::uintptr_t start = resident_in(unit)) return start;
    return found != nullptr ? found->start + found->free.find_tightest_run(pages) * os::kPageBytes : 0;
}

// The smallest of the holes that have room, of those the lowest; holes with resident pages for most of it go before
// others. Or the widest. Only holes that reach a unit's end. 0 if none.
std::uintptr_t PageHeap::find_hole(std::size_t pages, Fit fit) const {
    std::uintptr_t best = 0;
    std::size_t best_pages = 0;
    bool best_resident = false;
    const auto consider = [&](std::uintptr_t start, std::size_t room, std::size_t stale) {
        if (fit == Fit::in_one_unit && page_in_unit(start) + pages > kPagesInUnit) {
            const std::size_t skipped = kPagesInUnit - page_in_unit(start);
            if (room <= skipped) return;
            start += skipped * os::kPageBytes;
            room -= skipped;
        }
        if (room < pages) return;
        const bool resident = fit != Fit::widest && stale >= pages / 2;
        if (best != 0 && resident == best_resident && (fit == Fit::widest ? room <= best_pages : room >= best_pages))
            return;
        if (best_resident && !resident) return;
        best = start;
        best_pages = room;
        best_resident = resident;
    };
    std::uintptr_t start = 0, end = 0;
    std::size_t stale = 0;  // in the hole's units
    for (std::size_t i = 0; i < place_count_; ++i) {
        const Place &place = places_[i];
        const std::uintptr_t unit = place.unit->start;
        if (unit != end) {
            consider(start, (end - start) / os::kPageBytes, stale);
            start = end = unit;
            stale = 0;
        }
        end += place.lead * os::kPageBytes;
        stale += place.lead < place.stale ? place.lead : place.stale;
        if (place.lead == kPagesInUnit) continue;
        consider(start, (end - start) / os::kPageBytes, stale);
        end = unit + kUnitBytes;
        start = end - place.trail * os::kPageBytes;
        stale = place.trail < place.stale ? place.trail : place.stale;
    }
    consider(start, (end - start) / os::kPageBytes, stale);
    return best;
}

bool PageHeap::make_regions(std::uintptr_t start, std::size_t pages) {
    return for_units(start, pages, [&](Place &place, unsigned, unsigned) {
        Unit *unit = place.unit;
        if (unit->region != nullptr) return true;
        auto *region = static_cast<UnitRegion *>(new_record(sizeof(UnitRegion)));
        // The record may lie in what was this unit.
        if (region == nullptr || places_[place_of(unit->start)].unit != unit) return false;
        region->unit = unit;
        region->start = unit->start;
        unit->region = region;
        page_map.set(unit->start, 1, address_of(static_cast<Region *>(region)));
        return true;
    });
}

// ---- pages of units ----

template <class F>
bool PageHeap::for_units(std::uintptr_t start, std::size_t pages, F f) {
    for (std::size_t i = place_of(unit_start(start)); pages != 0; ++i) {
        if (i >= place_count_ || places_[i].unit->start != unit_start(start)) return false;
        const unsigned first = page_in_unit(start);
        const unsigned count = pages < kPagesInUnit - first ? static_cast<unsigned>(pages) : kPagesInUnit - first;
        if (!f(places_[i], first, count)) return false;
        start += count * os::kPageBytes;
        pages -= count;
    }
    return true;
}

bool PageHeap::all_free(std::uintptr_t start, std::size_t pages) {
    return for_units(start, pages, [](const Place &place, unsigned first, unsigned count) {
        return place.unit->free.count_in(first, count) == count;
    });
}

bool PageHeap::take(std::uintptr_t start, std::size_t pages, Span *span) {
    std::size_t reused = 0;
    for_units(start, pages, [&](Place &place, unsigned first, unsigned count) {
        Unit *unit = place.unit;
        if (span->kind == SpanKind::small && unit->free_pages == kPagesInUnit && unit->stale_pages == 0 &&
            are_huge_pages_worth()) {
            os::prefer_huge_pages(pointer_to(unit->start), kUnitBytes);
            unit->prefers_huge = true;
        }
        const unsigned stale = unit->stale_pages == 0 ? 0 : unit->stale.count_in(first, count);
        unit->free.clear(first, count);
        unit->free_pages -= count;
        if (stale != 0) {
            reused += stale;
            span->fresh_pages = 0;
            while (!unit->stale.test(first + count - 1 - span->fresh_pages)) ++span->fresh_pages;
            unit->stale.clear(first, count);
            unit->stale_pages -= stale;
            gauges_.resident_free_bytes -= stale * os::kPageBytes;
            if (unit->stale_pages == 0) delist_stale(unit);
        } else {
            span->fresh_pages += count;
        }
        resized(place);
        unit->region->give(first, count, PageEntry::of(span));
        return true;
    });
    if (reused != pages) missed(pages, (pages - reused) * os::kPageBytes);
    return reused == 0;
}

void PageHeap::give(std::uintptr_t start, std::size_t pages, bool stale) {
    for_units(start, pages, [&](Place &place, unsigned first, unsigned count) {
        Unit *unit = place.unit;
        unit->region->give(first, count, {0});
        unit->free.set(first, count);
        unit->free_pages += count;
        if (stale) {
            unit->stale.set(first, count);
            unit->stale_pages += count;
            gauges_.resident_free_bytes += count * os::kPageBytes;
            enlist_stale(unit);
        }
        resized(place);
        return true;
    });
}

// ---- the table of units ----

bool PageHeap::map_units(std::size_t units) {
    if (grow_units_ == 0) grow_units_ = kFirstGrowUnits;
    std::size_t wanted = units > grow_units_ ? units : grow_units_;
    std::uintptr_t start = address_of(os::map(wanted * kUnitBytes, kUnitBytes));
    if (start == 0 && wanted != units) {
        wanted = units;
        start = address_of(os::map(wanted * kUnitBytes, kUnitBytes));
    }
    if (start == 0) return false;
    if (!page_map.reserve(start, wanted) || !add_places(start, wanted)) {
        os::unmap(pointer_to(start), wanted * kUnitBytes);
        return false;
    }
    page_map.set(start, wanted, PageMap::Entry::kFreeUnit);
    if (grow_units_ < kMaxGrowUnits) grow_units_ *= 2;
    gauges_.mapped_bytes += wanted * kUnitBytes;
    return true;
}

// First place that is not below.
std::size_t PageHeap::place_of(std::uintptr_t unit_start) const {
    std::size_t low = 0, high = place_count_;
    while (low < high) {
        const std::size_t middle = (low + high) / 2;
        if (places_[middle].unit->start < unit_start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool PageHeap::add_places(std::uintptr_t start, std::size_t units) {
    if (place_count_ + units > place_room_) {
        std::size_t room = place_room_ == 0 ? os::kPageBytes / sizeof(Place) : 2 * place_room_;
        while (room < place_count_ + units) room *= 2;
        auto *bigger = static_cast<Place *>(os::map(room * sizeof(Place)));
        if (bigger == nullptr) return false;
        if (places_ != nullptr) {
            std::memcpy(bigger, places_, place_count_ * sizeof(Place));
            os::unmap(places_, place_room_ * sizeof(Place));
        }
        places_ = bigger;
        place_room_ = room;
    }
    // Records first, as they may fail: those of units that went before, or fresh ones.
    for (std::size_t i = 0; i < units; ++i) {
        Unit *unit = static_cast<Unit *>(arena_.allocate(sizeof(Unit)));
        if (unit == nullptr) return false;
        unit->next = free_units_;
        free_units_ = unit;
    }
    const std::size_t at = place_of(start);
    std::memmove(places_ + at + units, places_ + at, (place_count_ - at) * sizeof(Place));
    place_count_ += units;
    for (std::size_t i = 0; i < units; ++i) {
        Unit *unit = free_units_;
        free_units_ = unit->next;
        *unit = {};
        unit->start = start + i * kUnitBytes;
        unit->free.set(0, kPagesInUnit);
        unit->free_pages = kPagesInUnit;
        places_[at + i] = {unit, 0, 0, 0};
    }
    for (std::size_t i = units; i-- > 0;) resized(places_[at + i]);
    return true;
}

void PageHeap::unbucket(Unit *unit) {
    if (!unit->in_bucket) return;
    if (unit->prev != nullptr)
        unit->prev->next = unit->next;
    else
        buckets_[bucket_of(unit->longest)] = unit->next;
    if (unit->next != nullptr) unit->next->prev = unit->prev;
    unit->in_bucket = false;
}

// The unit's free pages are others now.
void PageHeap::resized(Place &place) {
    Unit *unit = place.unit;
    const unsigned lead = unit->free.next_clear(0);
    const unsigned trail = lead != kPagesInUnit ? unit->free.trailing_run() : lead;
    unsigned longest = std::max(lead, trail);
    // Runs in between are looked at where they could be longer.
    if (lead != kPagesInUnit && unit->free_pages - lead - trail > longest) longest = unit->free.longest_run();
    place.lead = static_cast<std::uint16_t>(lead);
    place.trail = static_cast<std::uint16_t>(trail);
    place.stale = static_cast<std::uint16_t>(unit->stale_pages);
    if (unit->in_bucket && longest != 0 && bucket_of(longest) == bucket_of(unit->longest)) {
        unit->longest = longest;
        return;
    }
    unbucket(unit);
    unit->longest = longest;
    if (longest == 0) return;
    Unit *&head = buckets_[bucket_of(longest)];
    unit->prev = nullptr;
    unit->next = head;
    if (head != nullptr) head->prev = unit;
    head = unit;
    unit->in_bucket = true;
}

void PageHeap::enlist_stale(Unit *unit) {
    delist_stale(unit);
    unit->stale_since_ms = os::coarse_milliseconds();
    unit->stale_prev = stale_tail_;
    unit->stale_next = nullptr;
    if (stale_tail_ != nullptr)
        stale_tail_->stale_next = unit;
    else
        stale_head_ = unit;
    stale_tail_ = unit;
    unit->in_stale = true;
}

void PageHeap::delist_stale(Unit *unit) {
    if (!unit->in_stale) return;
    if (unit->stale_prev != nullptr)
        unit->stale_prev->stale_next = unit->stale_next;
    else
        stale_head_ = unit->stale_next;
    if (unit->stale_next != nullptr)
        unit->stale_next->stale_prev = unit->stale_prev;
    else
        stale_tail_ = unit->stale_prev;
    unit->in_stale = false;
}

// ---- the way back to the OS ----

void PageHeap::discard_unit(Unit *unit) {
    bool done = true;
    if (unit->prefers_huge && unit->free_pages == kPagesInUnit && !are_huge_pages_worth()) {
        os::prefer_small_pages(pointer_to(unit->start), kUnitBytes);
        unit->prefers_huge = false;
    }
    for (unsigned begin = unit->stale.next_set(0); begin < kPagesInUnit;) {
        const unsigned end = unit->stale.next_clear(begin);
        done &= os::discard(pointer_to(unit->start + begin * os::kPageBytes), (end - begin) * os::kPageBytes);
        begin = unit->stale.next_set(end);
    }
    delist_stale(unit);
    if (!done) {
        // Refused (seccomp, locked memory): the contents stand. Try again a decay later.
        enlist_stale(unit);
        return;
    }
    gauges_.resident_free_bytes -= unit->stale_pages * os::kPageBytes;
    unit->stale.clear(0, kPagesInUnit);
    unit->stale_pages = 0;
    places_[place_of(unit->start)].stale = 0;
}

std::size_t PageHeap::resident_cap() const {
    // No more than what has once been in use, and half of it for what lies badly.
    const std::size_t room = peak_block_bytes_ + peak_block_bytes_ / 2 - gauges_.block_bytes;
    return std::max(std::min(keep_, room), kLeastKept);
}

// Fresh pages were taken. Had we kept what we discarded lately, they need not have been.
void PageHeap::missed(std::size_t pages, std::size_t fresh_bytes) {
    std::size_t &discarded = discarded_[kind_of(pages)];
    if (discarded == 0) return;
    if (discarded_ms_ + kDecayMs <= os::coarse_milliseconds()) {
        discarded = 0;
        return;
    }
    // It would not have been large enough.
    if (fresh_bytes > discarded) return;
    keep_ = std::min(keep_ + fresh_bytes, std::max<std::size_t>(gauges_.block_bytes, kMostKeptOfSmall));
    discarded -= fresh_bytes;
}

void PageHeap::decay(std::size_t pages, bool everything) {
    if (gauges_.block_bytes > peak_block_bytes_) peak_block_bytes_ = gauges_.block_bytes;
    if (gauges_.resident_free_bytes == 0) return;
    const std::size_t cap = resident_cap();
    const std::uint64_t now = os::coarse_milliseconds();
    const bool over = gauges_.resident_free_bytes > cap;
    if (!everything && !over && now < next_decay_ms_) return;
    next_decay_ms_ = now + kDecayCheckMs;

    std::size_t before = gauges_.resident_free_bytes;
    const auto due = [&](const Unit *unit) { return everything || unit->stale_since_ms + kDecayMs <= now; };
    for (const Unit *last = stale_tail_; stale_head_ != nullptr && due(stale_head_);) {
        const bool was_last = stale_head_ == last;
        discard_unit(stale_head_);
        if (was_last) break;
    }
    // What has aged was kept for nothing.
    const std::size_t aged = before - gauges_.resident_free_bytes;
    keep_ = keep_ > kLeastKept + aged ? keep_ - aged : kLeastKept;

    // Down to seven eighths, so that the next free does not come back here at once.
    if (gauges_.resident_free_bytes <= cap) return;
    if (discarded_ms_ + kDecayMs <= now) discarded_[0] = discarded_[1] = 0;
    discarded_ms_ = now;
    for (before = 0; gauges_.resident_free_bytes > cap / 8 * 7 && gauges_.resident_free_bytes != before;) {
        before = gauges_.resident_free_bytes;
        discard_unit(stale_head_);
        discarded_[kind_of(pages)] += before - gauges_.resident_free_bytes;
    }
}

bool PageHeap::discard_all() {
    LockGuard guard(lock_);
    const bool any = gauges_.resident_free_bytes != 0;
    decay(0, true);
    changed();
    return any;
}

}  // namespace hakmem
