#include "core/notes.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "core/page_map.h"
#include "os/pages.h"

namespace hakmem {

constinit NoteTable notes::singles;
constinit std::atomic<bool> notes::are_many{false};

namespace {

bool make_rows(Region *region) {
    BlockNote *notes = region->notes.load(std::memory_order_acquire);
    if (notes != nullptr) return true;
    auto *fresh = static_cast<BlockNote *>(os::map(kUnitBytes));
    if (fresh == nullptr) return false;
    if (!region->notes.compare_exchange_strong(notes, fresh)) os::unmap(fresh, kUnitBytes);
    return true;
}

// A note by itself, if there may be one more.
BlockNote *make_single(Span *span, std::uint32_t index) {
    const std::uintptr_t block = span->slot(index);
    // Left behind by a block of which the policy never heard that it was freed.
    if (BlockNote *note = notes::singles.find(block); note != nullptr) return note;
    if (notes::are_many.load(std::memory_order_relaxed) || span->single_notes > span->slots / notes::kFewOf)
        return nullptr;
    BlockNote *note = notes::singles.make(block);
    if (note != nullptr) span->single_notes.fetch_add(1);
    return note;
}

}  // namespace

BlockNote *notes::make(Span *span, std::uint32_t index) {
    const std::uint32_t row = index / kChunk;
    BlockNote *first_chunk = span->notes.load(std::memory_order_acquire);
    BlockNote *note = first_chunk != nullptr ? nullptr : make_single(span, index);
    if (note == nullptr) {
        // A slot that was kept and is handed out again has one note, not two.
        if (span->single_notes != 0) {
            if (BlockNote *before = singles.find(span->slot(index)); before != nullptr) drop_single(before);
        }
        if (first_chunk == nullptr) {
            Region *region = page_map.find(span->start).region();
            if (!make_rows(region)) return nullptr;
            first_chunk = first_chunk_of(region->notes.load(std::memory_order_acquire), span);
            span->notes.store(first_chunk, std::memory_order_release);
        }
        note = in_row(first_chunk, index);
    }
    // Another thread may be making a note in the same span.
    used_word(span, row).fetch_or(used_bit(row));
    span->watched = true;
    return note;
}

void notes::drop_single(BlockNote *note) {
    if (Span *span = page_map.span_of(singles.block_of(note)); span != nullptr)
        span->single_notes.fetch_add(static_cast<std::uint16_t>(-1));
    singles.drop(note);
}

void drop_notes(Span *span) {
    BlockNote *kept = span->notes.load(std::memory_order_acquire);
    span->watched = false;
    if (kept == nullptr && span->single_notes == 0) return;
    for (std::uint32_t index = 0; index < span->slots; ++index) {
        const std::uint32_t row = index / notes::kChunk;
        if ((notes::used_word(span, row) & notes::used_bit(row)) == 0) {
            index = (row + 1) * notes::kChunk - 1;
            continue;
        }
        // What was never written to is not touched.
        if (kept != nullptr) {
            BlockNote *note = notes::in_row(kept, index);
            if (!note->is_clear()) note->clear();
        }
        if (span->single_notes == 0) continue;
        if (BlockNote *left = notes::singles.find(span->slot(index)); left != nullptr) notes::drop_single(left);
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
