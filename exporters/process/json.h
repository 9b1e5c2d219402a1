// The JSON form of a watched process: what /api/v1/processes and `hakmem ps --json` list.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "segment/reader.h"

namespace hakmem {

nlohmann::ordered_json to_json(const segment::Snapshot &snapshot);

}  // namespace hakmem
