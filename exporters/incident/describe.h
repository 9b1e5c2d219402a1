// Makes the incident that is shown out of a segment's raw one: symbolizes its stacks, works out fingerprint and id.
#pragma once

#include "incident/incident.h"
#include "segment/reader.h"

namespace hakmem {

class Symbolizer;

Incident describe(const segment::Incident &raw, const segment::Snapshot &snapshot, Symbolizer &symbolizer);

// 16 hex digits, the same whenever and by whomever this record of this segment is read.
std::string incident_id(const segment::Snapshot &snapshot, const segment::Incident &raw);

}  // namespace hakmem
