// What the notes of a block and of its left neighbour add to the facts about it.
#pragma once

#include "core/fault.h"
#include "diag/incident.h"

namespace hakmem {

// Fills what is known, and corrects the facts' expected header where the block is watched.
Evidence evidence_of(BlockFacts &facts);

}  // namespace hakmem
