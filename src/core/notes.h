// Where the notes of watched blocks (watch.h) are kept: out of line, away from what the program writes to. A large
// block's is in its span. A small slot's lies by itself, in a table for all of them, for as long as few of its span
// have one: samples come by everywhere in time, and are never many at once. Once they are many, the span's next ones
// lie beside the region.
//
// There they lie in rows: each has a chunk of notes of every span that the region has room for. So where slots are
// large, few pages are touched.
#pragma once

#include <atomic>
#include <cstdint>
#include <iterator>

#include "core/note_table.h"
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

// Which rows of a span have had notes, here or by themselves, is a bit for every kRowsInBit of them, in its own note,
// which is for nothing else.
inline constexpr std::uint32_t kRowsInBit = size_classes::kSpanBytes / size_classes::kGranule / kChunk / 128;
static_assert(kRowsInBit > 0 && sizeof(BlockNote) * 8 == 128);

// A span's chunk of the first row. No two spans of the region start in the same share of it, however they are placed.
inline BlockNote *first_chunk_of(BlockNote *notes, const Span *span) {
    return notes + span->start % kUnitBytes / size_classes::kSpanBytes * kChunk;
}
// A slot's note, from there.
inline BlockNote *in_row(BlockNote *first_chunk, std::uint32_t index) {
    return first_chunk + index / kChunk * kRow + index % kChunk;
}

inline Relaxed<std::uint32_t> &used_word(Span *span, std::uint32_t row) {
    return span->note.words[row / kRowsInBit / 32];
}
constexpr std::uint32_t used_bit(std::uint32_t row) { return 1u << (row / kRowsInBit % 32); }

// One slot in so many, and one more, may have a note by itself.
inline constexpr std::uint32_t kFewOf = 16;

extern constinit NoteTable singles;

// Set by the policy as long as every block is watched: then a span's first notes lie in rows already.
extern constinit std::atomic<bool> are_many;

// nullptr if there is no memory.
BlockNote *make(Span *span, std::uint32_t index);

void drop_single(BlockNote *note);

}  // namespace notes

// The note of a slot where it lies in a row; nullptr where it does not.
inline BlockNote *note_in_row(Span *span, std::uint32_t index) {
    BlockNote *first_chunk = span->notes.load(std::memory_order_acquire);
    const std::uint32_t row = index / notes::kChunk;
    if (first_chunk == nullptr || (notes::used_word(span, row) & notes::used_bit(row)) == 0) return nullptr;
    return notes::in_row(first_chunk, index);
}

// The same for a slot that is watched, of a span whose slots' notes lie in rows all.
inline BlockNote *only_note_in_row(Span *span, std::uint32_t index) {
    BlockNote *first_chunk = span->notes.load(std::memory_order_acquire);
    return first_chunk != nullptr && span->single_notes == 0 ? notes::in_row(first_chunk, index) : nullptr;
}

// The note of a slot; nullptr if there is no memory for notes, or, unless `make` is set, if there is no note here yet.
inline BlockNote *note_of(Span *span, std::uint32_t index, bool make) {
    BlockNote *note = note_in_row(span, index);
    // Where one lies by itself it is from before, and this one was never used.
    if (note != nullptr && (span->single_notes == 0 || (!make && note->words[0] != 0))) [[likely]]
        return note;
    if (make) return notes::make(span, index);
    return span->watched ? notes::singles.find(span->slot(index)) : nullptr;
}

// The block is watched no more: its slot is about to be free.
inline void drop_note(BlockNote *note) {
    if (notes::singles.holds(note)) notes::drop_single(note);
}

// Still the block's, for whoever doesn't have the block: one that lay by itself may be another's by now.
inline bool is_its_note(const Watched &watched) {
    return !notes::singles.holds(watched.note) || notes::singles.block_of(watched.note) == watched.block;
}

// For the same: the note as it was at one moment. False if it is another's.
inline bool read_note(const Watched &watched, BlockNote &copy) {
    for (unsigned i = 0; i < std::size(copy.words); ++i) copy.words[i] = std::uint32_t{watched.note->words[i]};
    return is_its_note(watched);
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
