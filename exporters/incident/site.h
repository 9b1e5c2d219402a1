// One line that says where an incident happened, for lists.
#pragma once

#include <string>

#include "incident/incident.h"

namespace hakmem {

// What `site` calls the place of an incident that no call of the program led to.
inline constexpr const char *kNoSite = "(no stack)";

// Function, else module+offset, of the first frame above the allocator and the runtime: where to look first.
std::string site(const Stack &stack);

// The stack that stands for the incident: where it was found, or, where it was found later by nobody's fault, who is
// behind it. Its frames make the fingerprint.
const Stack &main_stack(const Incident &incident);

// The first frame of that.
std::string site(const Incident &incident);

// The stack whose code most likely has to change: the writer, else who allocated what was written past, else who freed
// what was written to later, else where it was found.
const Stack &blamed(const Incident &incident);
// The frame that `site` names; an empty one if there is no stack.
Frame site_frame(const Incident &incident);

// The function that called the one of `site`; empty if the stack does not tell.
std::string caller(const Incident &incident);

// The second place to look at, by kind: who allocated the block in front of an overwritten header, who freed first.
// Empty if the record does not tell.
std::string other_site(const Incident &incident);

}  // namespace hakmem
