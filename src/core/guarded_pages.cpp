#include "core/guarded_pages.h"

#include "base/bits.h"
#include "core/size_classes.h"
#include "os/pages.h"

namespace hakmem {

constinit GuardedPages guarded_pages;

GuardedPages::Pool *GuardedPages::new_pool() {
    auto *pool = static_cast<Pool *>(arena_.allocate(sizeof(Pool)));
    if (pool == nullptr) return nullptr;
    const std::uintptr_t start = address_of(os::reserve(kUnitBytes, kUnitBytes));
    if (start == 0 || !page_map.reserve(start, 1)) return nullptr;
    pool->start = start;
    pool->free.set(1, kPagesInUnit - 1);  // the first page guards the first block
    pool->next = pools_;
    pools_ = pool;
    page_map.set(start, 1, address_of(static_cast<Region *>(pool)));
    return pool;
}

Span *GuardedPages::place_in(Pool *pool, unsigned pages) {
    const unsigned whole = pages + 1;
    unsigned first = pool->free.find_run(whole, next_page_);
    if (first == pool->free.kNone) first = pool->free.find_run(whole);
    if (first == pool->free.kNone) return nullptr;
    Span *span = unused_spans_;
    if (span != nullptr)
        unused_spans_ = span->all.next;
    else if ((span = static_cast<Span *>(arena_.allocate(sizeof(Span)))) == nullptr)
        return nullptr;
    span->start = pool->start + first * os::kPageBytes;
    span->bytes = pages * os::kPageBytes;
    if (!os::allow(pointer_to(span->start), span->bytes)) {
        span->all.next = unused_spans_;
        unused_spans_ = span;
        return nullptr;
    }
    pool->free.clear(first, whole);
    pool->give(first, whole, PageEntry::of(span));
    next_page_ = first + whole < kPagesInUnit ? first + whole : 1;
    return span;
}

Span *GuardedPages::allocate(std::size_t bytes, std::size_t alignment, bool at_end) {
    if (bytes > kMostBytes || alignment > os::kPageBytes) return nullptr;
    if (alignment < size_classes::kGranule) alignment = size_classes::kGranule;
    const auto pages = static_cast<unsigned>((bytes + os::kPageBytes - 1) / os::kPageBytes);
    LockGuard guard(lock_);
    if (used_ >= kMost) return nullptr;
    Span *span = nullptr;
    for (Pool *pool = pools_; pool != nullptr && span == nullptr; pool = pool->next)
        span = place_in(pool, pages == 0 ? 1 : pages);
    if (span == nullptr && new_pool() != nullptr) span = place_in(pools_, pages == 0 ? 1 : pages);
    if (span == nullptr) return nullptr;
    ++used_;
    const std::size_t room = span->bytes - bytes;
    span->user_offset = static_cast<std::uint32_t>(at_end ? room & ~(alignment - 1) : 0);
    span->watched = true;
    span->freed = false;
    span->note.clear();
    span->kind = SpanKind::guarded;
    return span;
}

void GuardedPages::forbid(Span *span) {
    span->freed = true;
    os::forbid(pointer_to(span->start), span->bytes + os::kPageBytes);
}

void GuardedPages::recycle(Span *span) {
    LockGuard guard(lock_);
    auto *pool = static_cast<Pool *>(page_map.find(span->start).region());
    const auto first = static_cast<unsigned>((span->start - pool->start) / os::kPageBytes);
    const auto whole = static_cast<unsigned>(span->bytes / os::kPageBytes) + 1;
    pool->give(first, whole, {0});
    pool->free.set(first, whole);
    span->kind = SpanKind::unused;
    span->all.next = unused_spans_;
    unused_spans_ = span;
    --used_;
}

Span *GuardedPages::accused(std::uintptr_t address) {
    const PageMap::Entry entry = page_map.find(address);
    if (!entry.is_region()) return nullptr;
    const Region *pool = entry.region();
    const auto guarded_on = [&](unsigned page) -> Span * {
        Span *span = page < kPagesInUnit ? pool->page(page).span() : nullptr;
        return span != nullptr && span->kind == SpanKind::guarded ? span : nullptr;
    };
    const auto page = static_cast<unsigned>((address - pool->start) / os::kPageBytes);
    Span *own = guarded_on(page);
    if (own != nullptr && address < own->end()) return own;  // freed memory
    // Out of bounds of somebody near: rather of a block in use than of a freed one, and then of the nearest.
    constexpr unsigned kFarthest = 17;
    Span *best = nullptr;
    std::uintptr_t best_distance = 0;
    for (unsigned far = 0; far <= 2 * kFarthest; ++far) {
        Span *span = guarded_on(page + far - kFarthest);
        if (span == nullptr || span == best) continue;
        const std::uintptr_t distance = address < span->start ? span->start - address : address - span->end() + 1;
        if (best == nullptr || (best->freed && !span->freed) ||
            (best->freed == span->freed && distance < best_distance)) {
            best = span;
            best_distance = distance;
        }
    }
    return best;
}

bool GuardedPages::permit(std::uintptr_t address) {
    return os::allow(pointer_to(address & ~(os::kPageBytes - 1)), os::kPageBytes);
}

}  // namespace hakmem
