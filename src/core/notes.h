// Where the notes of watched blocks (watch.h) are kept: out of line, away from what the program writes to. A small
// slot's lie beside its region, made when the first block there is watched; a large block's is in its span.
#pragma once

#include <cstdint>

#include "core/span.h"
#include "core/watch.h"

namespace hakmem {

// The note of a slot; nullptr if there is no memory for notes, or, unless `make` is set, if there is no note here yet.
BlockNote *note_of(Span *span, std::uint32_t index, bool make);

// Forgets the notes of a small span that goes.
void drop_notes(Span *span);

Watched watched_small(std::uintptr_t user, const Span *span, std::uint32_t index, BlockNote *note);
Watched watched_large(Span *span);

// What there is of a note for the block whose memory starts at `block` (a slot, or a large block); false if it has
// none.
bool find_watched(std::uintptr_t block, Watched &watched);

}  // namespace hakmem
