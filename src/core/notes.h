// Where the notes of watched blocks (watch.h) are kept: out of line, away from what the program writes to. A small
// slot's lie beside its region, made when the first block there is watched; a large block's is in its span.
//
// A region's notes lie in rows: each has a chunk of notes of every span that the region has room for. So where only few
// blocks are watched, or slots are large, few pages are touched.
#pragma once

#include <cstdint>

#include "core/page_map.h"
#include "core/span.h"
#include "core/watch.h"

namespace hakmem {

namespace notes {

inline constexpr std::uint32_t kChunk = 16;
inline constexpr std::uint32_t kSpansInRegion = kUnitBytes / size_classes::kSpanBytes;
inline constexpr std::uint32_t kRow = kChunk * kSpansInRegion;
static_assert(std::size_t{kRow} * sizeof(BlockNote) * size_classes::kSpanBytes / size_classes::kGranule / kChunk ==
              kUnitBytes);

// Which rows a span has used is a bit for every kRowsInBit of them, in its own note, which is for nothing else.
inline constexpr std::uint32_t kRowsInBit = size_classes::kSpanBytes / size_classes::kGranule / kChunk / 128;
static_assert(kRowsInBit > 0 && sizeof(BlockNote) * 8 == 128);

// No two spans of the region start in the same share of it, however they are placed.
inline BlockNote *chunk_of(BlockNote *notes, const Span *span, std::uint32_t row) {
    return notes + row * kRow + span->start % kUnitBytes / size_classes::kSpanBytes * kChunk;
}

inline Relaxed<std::uint32_t> &used_word(Span *span, std::uint32_t row) {
    return span->note.words[row / kRowsInBit / 32];
}
constexpr std::uint32_t used_bit(std::uint32_t row) { return 1u << (row / kRowsInBit % 32); }

// The span's first in that row: nullptr if there is no memory.
BlockNote *make_row(Span *span, std::uint32_t row);

}  // namespace notes

// The note of a slot in that region; nullptr if nothing in its span has been watched.
inline BlockNote *note_in(const Region &region, Span *span, std::uint32_t index) {
    BlockNote *notes = region.notes.load(std::memory_order_acquire);
    if (notes == nullptr || !span->watched) return nullptr;
    return notes::chunk_of(notes, span, index / notes::kChunk) + index % notes::kChunk;
}

// One may be written to: the span knows that it has to be forgotten.
inline bool has_row(Span *span, std::uint32_t index) {
    const std::uint32_t row = index / notes::kChunk;
    return (notes::used_word(span, row) & notes::used_bit(row)) != 0;
}

// The note of a slot; nullptr if there is no memory for notes, or, unless `make` is set, if there is no note here yet.
inline BlockNote *note_of(Span *span, std::uint32_t index, bool make) {
    if (make && !has_row(span, index)) [[unlikely]] {
        BlockNote *first = notes::make_row(span, index / notes::kChunk);
        return first != nullptr ? first + index % notes::kChunk : nullptr;
    }
    return note_in(*page_map.find(span->start).region(), span, index);
}

// Forgets the notes of a small span that goes.
void drop_notes(Span *span);

inline Watched watched_small(std::uintptr_t user, std::uintptr_t slot, std::size_t slot_bytes, BlockNote *note) {
    return {user, slot, slot_bytes - 1, note, false, false};
}
inline Watched watched_small(std::uintptr_t user, const Span *span, std::uint32_t index, BlockNote *note) {
    return watched_small(user, span->slot(index), span->slot_bytes(), note);
}
Watched watched_large(Span *span);

// What there is of a note for the block whose memory starts at `block` (a slot, or a large block); false if it has
// none.
bool find_watched(std::uintptr_t block, Watched &watched);

}  // namespace hakmem
