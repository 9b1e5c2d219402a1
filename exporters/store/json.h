// The JSON form of what the store says about many incidents: groups and one-line summaries.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "store/incident_reader.h"

namespace hakmem {

nlohmann::ordered_json to_json(const IncidentGroups &groups);
nlohmann::ordered_json to_json(const IncidentSummary &summary);

}  // namespace hakmem
