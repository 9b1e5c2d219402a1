#include "core/notes.h"

#include <atomic>
#include <cstring>

#include "core/page_map.h"
#include "os/pages.h"

namespace hakmem {

namespace {

// A region's notes lie in rows: each has a chunk of notes of every span that the region has room for. So where only few
// blocks are watched, or slots are large, few pages are touched.
constexpr std::uint32_t kChunk = 16;
constexpr std::uint32_t kSpansInRegion = kUnitBytes / size_classes::kSpanBytes;
constexpr std::uint32_t kRow = kChunk * kSpansInRegion;
static_assert(std::size_t{kRow} * sizeof(BlockNote) * size_classes::kSpanBytes / size_classes::kGranule / kChunk ==
              kUnitBytes);

// Which rows a span has used is a bit for every kRowsInBit of them, in its own note, which is for nothing else.
constexpr std::uint32_t kRowsInBit = size_classes::kSpanBytes / size_classes::kGranule / kChunk / 128;
static_assert(kRowsInBit > 0 && sizeof(BlockNote) * 8 == 128);

// No two spans of the region start in the same share of it, however they are placed.
BlockNote *chunk_of(BlockNote *notes, const Region *region, const Span *span, std::uint32_t row) {
    return notes + row * kRow + (span->start - region->start) / size_classes::kSpanBytes * kChunk;
}

Relaxed<std::uint32_t> &used_word(Span *span, std::uint32_t row) { return span->note.words[row / kRowsInBit / 32]; }
constexpr std::uint32_t used_bit(std::uint32_t row) { return 1u << (row / kRowsInBit % 32); }

}  // namespace

BlockNote *note_of(Span *span, std::uint32_t index, bool make) {
    Region *region = page_map.find(span->start).region();
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    const std::uint32_t row = index / kChunk;
    if (make) {
        if (notes == nullptr) {
            auto *fresh = static_cast<BlockNote *>(os::map(kUnitBytes));
            if (fresh == nullptr) return nullptr;
            if (region->notes.compare_exchange_strong(notes, fresh))
                notes = fresh;
            else
                os::unmap(fresh, kUnitBytes);
        }
        // Another thread may be making a note in the same span.
        if ((used_word(span, row) & used_bit(row)) == 0) used_word(span, row).fetch_or(used_bit(row));
        span->watched = true;
    } else if (notes == nullptr || !span->watched) {
        return nullptr;
    }
    return chunk_of(notes, region, span, row) + index % kChunk;
}

void drop_notes(Span *span) {
    const Region *region = page_map.find(span->start).region();
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    span->watched = false;
    if (notes == nullptr) return;
    for (std::uint32_t row = 0; row * kChunk < span->slots; ++row) {
        if ((used_word(span, row) & used_bit(row)) == 0) continue;
        BlockNote *chunk = chunk_of(notes, region, span, row);
        for (std::uint32_t i = 0; i < kChunk; ++i) chunk[i].clear();
    }
}

Watched watched_small(std::uintptr_t user, const Span *span, std::uint32_t index, BlockNote *note) {
    return {user, span->slot(index), span->slot_bytes() - 1, note, false, false};
}

Watched watched_large(Span *span) {
    const std::uintptr_t user = span->start + span->user_offset;
    const bool guarded = span->kind == SpanKind::guarded;
    return {user, user, span->end() - user, &span->note, true, guarded, guarded ? span->user_offset : std::size_t{0}};
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
