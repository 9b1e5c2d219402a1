// Incidents as SARIF 2.1.0, the format that code-scanning services and editors read: a rule a kind, a result an
// incident, located at the line that most likely has to change, with all of its stacks.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "incident/incident.h"

namespace hakmem {

// Files below `source_root`, an absolute path, are named relative to it, as services want them.
nlohmann::ordered_json sarif(const std::vector<Incident> &incidents, const std::string &source_root);

}  // namespace hakmem
