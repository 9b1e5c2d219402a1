#include "core/guarded_pages.h"

#include "base/bits.h"
#include "core/size_classes.h"

namespace hakmem {

constinit GuardedPages guarded_pages;

namespace {

constexpr std::size_t kGuardBytes = os::kPageBytes;

// Of a block with units of its own.
bool is_apart(const Span *span) { return !page_map.find(span->start).is_region(); }
std::uintptr_t units_start(const Span *span) { return span->start - kGuardBytes; }
std::size_t units_bytes(const Span *span) { return span->bytes + 2 * kGuardBytes; }

}  // namespace

bool GuardedPages::new_pool() {
    auto *pool = static_cast<Pool *>(arena_.allocate(sizeof(Pool)));
    if (pool == nullptr) return false;
    const std::uintptr_t start = address_of(os::reserve(kUnitBytes, kUnitBytes));
    if (start == 0 || !page_map.reserve(start, 1)) return false;
    pool->start = start;
    pool->free.set(1, kPagesInUnit - 1);  // the first page guards the first block
    pool->next = pools_;
    pools_ = pool;
    page_map.set(start, 1, address_of(static_cast<Region *>(pool)));
    return true;
}

Span *GuardedPages::new_span() {
    Span *span = unused_spans_;
    if (span == nullptr) return static_cast<Span *>(arena_.allocate(sizeof(Span)));
    unused_spans_ = span->all.next;
    span->all.next = nullptr;
    return span;
}

void GuardedPages::drop_span(Span *span) {
    span->kind = SpanKind::unused;
    span->all.next = unused_spans_;
    unused_spans_ = span;
}

Span *GuardedPages::place_in(Pool *pool, unsigned pages, unsigned from) {
    const unsigned whole = pages + 1;
    const unsigned first = pool->free.find_run(whole, from);
    if (first == pool->free.kNone) return nullptr;
    Span *span = new_span();
    if (span == nullptr) return nullptr;
    span->start = pool->start + first * os::kPageBytes;
    span->bytes = pages * os::kPageBytes;
    if (pool->touched.load(std::memory_order_relaxed)) os::forbid(pointer_to(span->start), span->bytes + kGuardBytes);
    if (!os::allow(pointer_to(span->start), span->bytes)) {
        drop_span(span);
        return nullptr;
    }
    pool->free.clear(first, whole);
    pool->give(first, whole, PageEntry::of(span));
    next_pool_ = pool;
    next_page_ = first + whole;
    return span;
}

// Where the last one was placed, or behind it, so that a freed one's place stays out of use for long.
Span *GuardedPages::place(unsigned pages) {
    if (next_pool_ != nullptr) {
        if (Span *span = place_in(next_pool_, pages, next_page_)) return span;
        Pool *pool = next_pool_;
        do {
            pool = pool->next != nullptr ? pool->next : pools_;
            if (Span *span = place_in(pool, pages, 1)) return span;
        } while (pool != next_pool_);
    }
    return new_pool() ? place_in(pools_, pages, 1) : nullptr;
}

Span *GuardedPages::place_apart(std::size_t bytes) {
    Span *span = new_span();
    if (span == nullptr) return nullptr;
    span->bytes = bytes;
    const std::size_t units = (units_bytes(span) + kUnitBytes - 1) / kUnitBytes;
    const std::uintptr_t start = address_of(os::reserve(units_bytes(span), kUnitBytes));
    span->start = start + kGuardBytes;
    if (start == 0 || !page_map.reserve(start, units) || !os::allow(pointer_to(span->start), bytes)) {
        if (start != 0) os::unmap(pointer_to(start), units_bytes(span));
        drop_span(span);
        return nullptr;
    }
    page_map.set(start, units, address_of(span) | PageMap::Entry::kSpan);
    return span;
}

Span *GuardedPages::allocate(std::size_t bytes, std::size_t alignment, bool at_end) {
    if (alignment > os::kPageBytes || bytes > PTRDIFF_MAX - kUnitBytes) return nullptr;
    if (alignment < size_classes::kGranule) alignment = size_classes::kGranule;
    const std::size_t whole = bytes == 0 ? os::kPageBytes : align_up(bytes, os::kPageBytes);
    LockGuard guard(lock_);
    Span *span = nullptr;
    do {
        if (used_ < kMost)
            span = whole <= kMostShared ? place(static_cast<unsigned>(whole / os::kPageBytes)) : place_apart(whole);
        if (span != nullptr || oldest_ == nullptr) break;
        recycle_oldest();
    } while (true);
    if (span == nullptr) return nullptr;
    ++used_;
    in_use_.fetch_add(1, std::memory_order_relaxed);
    bytes_in_use_.fetch_add(span->bytes, std::memory_order_relaxed);
    const std::size_t room = span->bytes - bytes;
    span->user_offset = static_cast<std::uint32_t>(at_end ? room & ~(alignment - 1) : 0);
    span->watched = true;
    span->freed = false;
    span->note.clear();
    mark(pointer_to(span->start + span->user_offset));
    // An audit expects the header once the span says what it is, and this thread may be held up right there for long.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    span->kind = SpanKind::guarded;
    return span;
}

void GuardedPages::forbid(Span *span) {
    os::forbid(pointer_to(span->start), span->bytes + kGuardBytes);
    in_use_.fetch_sub(1, std::memory_order_relaxed);
    bytes_in_use_.fetch_sub(span->bytes, std::memory_order_relaxed);
    LockGuard guard(lock_);
    (oldest_ != nullptr ? youngest_->all.next : oldest_) = span;
    youngest_ = span;
    ++freed_;
    freed_bytes_ += span->bytes;
    while (freed_ > kMostFreed || freed_bytes_ > kMostFreedBytes) recycle_oldest();
}

void GuardedPages::recycle_oldest() {
    Span *span = oldest_;
    oldest_ = span->all.next;
    --freed_;
    freed_bytes_ -= span->bytes;
    --used_;
    if (is_apart(span)) {
        page_map.set(units_start(span), (units_bytes(span) + kUnitBytes - 1) / kUnitBytes, 0);
        os::unmap(pointer_to(units_start(span)), units_bytes(span));
    } else {
        auto *pool = static_cast<Pool *>(page_map.find(span->start).region());
        const auto first = static_cast<unsigned>((span->start - pool->start) / os::kPageBytes);
        const auto whole = static_cast<unsigned>((span->bytes + kGuardBytes) / os::kPageBytes);
        pool->give(first, whole, {0});
        pool->free.set(first, whole);
    }
    drop_span(span);
}

Span *GuardedPages::accused(std::uintptr_t address) {
    const PageMap::Entry entry = page_map.find(address);
    if (Span *span = entry.span()) {
        const bool near = address - units_start(span) < units_bytes(span);
        return span->kind == SpanKind::guarded && near ? span : nullptr;
    }
    if (!entry.is_region()) return nullptr;
    const Region *pool = entry.region();
    const auto guarded_on = [&](unsigned page) -> Span * {
        Span *span = pool->page(page).span();
        return span != nullptr && span->kind == SpanKind::guarded ? span : nullptr;
    };
    Span *own = guarded_on(static_cast<unsigned>((address - pool->start) / os::kPageBytes));
    if (own != nullptr && address < own->end()) return own;  // freed memory
    // Out of bounds of the nearest; of two that are as near as this, rather of one in use.
    constexpr std::uintptr_t kNear = os::kPageBytes;
    Span *best = nullptr;
    std::uintptr_t best_distance = 0;
    for (unsigned page = 0; page < kPagesInUnit; ++page) {
        Span *span = guarded_on(page);
        if (span == nullptr || span == best) continue;
        const std::uintptr_t distance =
            (address < span->start ? span->start - address : address - span->end() + 1) + (span->freed ? kNear : 0);
        if (best == nullptr || distance < best_distance) {
            best = span;
            best_distance = distance;
        }
    }
    return best;
}

bool GuardedPages::permit(std::uintptr_t address) {
    const PageMap::Entry entry = page_map.find(address);
    if (entry.is_region()) static_cast<Pool *>(entry.region())->touched.store(true, std::memory_order_relaxed);
    return os::allow(pointer_to(address & ~(os::kPageBytes - 1)), os::kPageBytes);
}

}  // namespace hakmem
