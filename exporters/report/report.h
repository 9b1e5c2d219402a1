// One incident as text for the terminal, in the order that users of the sanitizers know: kind, address, offset and
// size; what this thread did; who freed; who allocated; the suspect; the bytes; a summary and an end mark.
#pragma once

#include <string>

#include "incident/incident.h"

namespace hakmem {

// Names in the incident come from a watched program: control characters in them never reach the terminal.
std::string report(const Incident &incident, bool colour);

// Whether standard output is a terminal that shows colours.
bool terminal_has_colour();

}  // namespace hakmem
