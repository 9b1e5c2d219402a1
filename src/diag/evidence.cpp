#include "diag/evidence.h"

#include "core/header_byte.h"
#include "core/notes.h"
#include "diag/note.h"

namespace hakmem {

Evidence evidence_of(BlockFacts &facts) {
    Evidence evidence;
    Watched watched;
    BlockNote seen;
    if (facts.block != 0 && find_watched(facts.block, watched) && read_note(watched, seen)) {
        const Note note(&seen);
        if (note.state() == Note::State::live) {
            if (facts.owner == Owner::small && !facts.header16_hurt)
                facts.header_expected = header_byte::watched(facts.size_class);
            evidence.alloc = note.alloc_stack();
            evidence.asked_bytes = watched.room - note.slack();
        } else if (note.state() == Note::State::kept) {
            evidence.alloc = note.alloc_stack();
            evidence.previous_free = note.free_stack();
        }
    }
    Watched neighbour;
    if (facts.left_block != 0 && find_watched(facts.left_block, neighbour) && read_note(neighbour, seen)) {
        const Note note(&seen);
        if (note.state() != Note::State::none) evidence.suspect_alloc = note.alloc_stack();
    }
    return evidence;
}

}  // namespace hakmem
