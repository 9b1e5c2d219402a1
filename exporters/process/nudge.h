// Makes a watched process look at its control word at once.
#pragma once

#include "segment/reader.h"

namespace hakmem {

// Sends the library's signal to the process behind the snapshot, if that still runs and the library's handler is in
// place. False: nothing was sent, and the process follows when it next comes through a slow path.
bool nudge(const segment::Snapshot &snapshot);

}  // namespace hakmem
