// The web page at /: processes and incidents, one plain HTML text without scripts or outside assets.
#pragma once

#include <string>
#include <vector>

#include "segment/reader.h"
#include "store/store.h"

namespace hakmem {

std::string status_page(const std::vector<segment::Snapshot> &processes, const std::vector<IncidentGroup> &groups);

}  // namespace hakmem
