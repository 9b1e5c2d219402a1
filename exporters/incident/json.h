// The JSON form of an incident: the one that the API, `--json` and the store share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "incident/incident.h"

namespace hakmem {

nlohmann::ordered_json to_json(const Incident &incident);
std::string to_json_text(const Incident &incident);
// Empty if the text is not an incident.
std::optional<Incident> incident_from_json(const std::string &text);

}  // namespace hakmem
