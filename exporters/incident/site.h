// One line that says where an incident happened, for lists.
#pragma once

#include <string>

#include "incident/incident.h"

namespace hakmem {

// Function, else module+offset, of the first frame above the allocator and the runtime: where to look first.
std::string site(const Stack &stack);

// Where it was found.
std::string site(const Incident &incident);

// Who is accused, as far as the record tells: the writer that was caught, else the allocation of the block whose owner
// wrote past its end. Empty if nobody is.
std::string culprit(const Incident &incident);

}  // namespace hakmem
