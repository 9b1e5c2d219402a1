// What a page asks for every second or two: each process in a few numbers, and the points that its charts lack.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <vector>

#include "collect/history.h"
#include "segment/reader.h"

namespace hakmem {

struct LiveQuery {
    std::uint64_t since_ms = 0;        // only points later than that
    std::optional<std::uint64_t> pid;  // only that process
};

nlohmann::ordered_json live_json(const std::vector<segment::Snapshot> &processes, const History &history,
                                 const LiveQuery &query, std::uint64_t now_ms);

}  // namespace hakmem
