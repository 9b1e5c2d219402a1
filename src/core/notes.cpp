#include "core/notes.h"

#include <cstring>

#include "core/page_map.h"
#include "os/pages.h"

namespace hakmem {

namespace {

// A span's share of its region's notes.
BlockNote *notes_of(BlockNote *notes, const Region *region, const Span *span) {
    return notes + (span->start - region->start) / size_classes::kGranule;
}

}  // namespace

BlockNote *note_of(Span *span, std::uint32_t index, bool make) {
    static_assert(sizeof(BlockNote) == size_classes::kGranule);
    Region *region = page_map.find(span->start).region();
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    if (notes == nullptr || !span->watched) {
        if (!make) return nullptr;
        if (notes == nullptr) {
            auto *fresh = static_cast<BlockNote *>(os::map(kUnitBytes));
            if (fresh == nullptr) return nullptr;
            if (region->notes.compare_exchange_strong(notes, fresh))
                notes = fresh;
            else
                os::unmap(fresh, kUnitBytes);
        }
        span->watched = true;
    }
    return notes_of(notes, region, span) + index;
}

void drop_notes(Span *span) {
    const Region *region = page_map.find(span->start).region();
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    span->watched = false;
    if (notes == nullptr) return;
    BlockNote *own = notes_of(notes, region, span);
    if (!os::discard(own, span->bytes)) std::memset(static_cast<void *>(own), 0, span->slots * sizeof *own);
}

Watched watched_small(std::uintptr_t user, const Span *span, std::uint32_t index, BlockNote *note) {
    return {user, span->slot(index), span->slot_bytes() - 1, note, false, false};
}

Watched watched_large(Span *span) {
    const std::uintptr_t user = span->start + span->user_offset;
    const bool guarded = span->kind == SpanKind::guarded;
    return {user, user, span->end() - user, &span->note, true, guarded, guarded ? span->user_offset : 0};
}

bool find_watched(std::uintptr_t block, Watched &watched) {
    Span *span = page_map.span_of(block);
    if (span == nullptr || !span->watched) return false;
    if (span->kind != SpanKind::small) {
        watched = watched_large(span);
        return true;
    }
    std::uint32_t index = 0;
    if (!span->slot_start(block, index)) return false;
    BlockNote *note = note_of(span, index, false);
    if (note == nullptr) return false;
    watched = watched_small(block, span, index, note);
    return true;
}

}  // namespace hakmem
