// One incident as text for the terminal: what happened in plain words, where, who is suspected, the bytes.
#pragma once

#include <string>

#include "incident/incident.h"

namespace hakmem {

// Names in the incident come from a watched program: control characters in them never reach the terminal.
std::string report(const Incident &incident, bool colour);

// Whether standard output is a terminal that shows colours.
bool terminal_has_colour();

}  // namespace hakmem
