#include "core/notes.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/page_map.h"
#include "os/pages.h"

namespace hakmem {

BlockNote *notes::make_row(Span *span, std::uint32_t row) {
    Region *region = page_map.find(span->start).region();
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    if (notes == nullptr) {
        auto *fresh = static_cast<BlockNote *>(os::map(kUnitBytes));
        if (fresh == nullptr) return nullptr;
        if (region->notes.compare_exchange_strong(notes, fresh))
            notes = fresh;
        else
            os::unmap(fresh, kUnitBytes);
    }
    // Another thread may be making a note in the same span.
    used_word(span, row).fetch_or(used_bit(row));
    span->watched = true;
    return chunk_of(notes, span, row);
}

void drop_notes(Span *span) {
    const Region *region = page_map.find(span->start).region();
    BlockNote *kept = region->notes.load(std::memory_order_acquire);
    span->watched = false;
    if (kept == nullptr) return;
    for (std::uint32_t row = 0; row * notes::kChunk < span->slots; ++row) {
        if ((notes::used_word(span, row) & notes::used_bit(row)) == 0) continue;
        BlockNote *chunk = notes::chunk_of(kept, span, row);
        for (std::uint32_t i = 0; i < notes::kChunk; ++i) chunk[i].clear();
    }
}

Watched watched_large(Span *span) {
    const std::uintptr_t user = span->start + span->user_offset;
    const bool guarded = span->kind == SpanKind::guarded;
    const std::size_t front = guarded ? std::min<std::size_t>(span->user_offset, Watched::kMostFront) : 0;
    return {user, user, span->end() - user, &span->note, true, guarded, front};
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
