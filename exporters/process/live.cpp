#include "process/live.h"

#include <nlohmann/json.hpp>

#include "text/text.h"

namespace hakmem {

nlohmann::ordered_json live_json(const std::vector<segment::Snapshot> &processes, const History &history,
                                 const LiveQuery &query, std::uint64_t now_ms) {
    using Json = nlohmann::ordered_json;
    Json list = Json::array();
    for (const segment::Snapshot &snapshot : processes) {
        if (query.pid && snapshot.pid != *query.pid) continue;
        Json out;
        out["id"] = snapshot.identity();
        out["pid"] = snapshot.pid;
        out["process"] = text::clean(snapshot.process);
        out["exe"] = text::clean(snapshot.exe);
        out["level"] = segment::kLevelNames[static_cast<std::size_t>(snapshot.level)];
        out["alive"] = snapshot.alive;
        out["start_time"] = text::rfc3339(snapshot.start_time_ns);
        if (snapshot.ended_ns != 0) out["end_time"] = text::rfc3339(snapshot.ended_ns);
        out["threads"] = snapshot.threads;
        out["live_bytes"] = snapshot.counters.live_bytes();
        out["mapped_bytes"] = snapshot.gauges.mapped_bytes;
        out["incidents"] = snapshot.counters.all_incidents();
        // Running totals: whoever reads them takes differences, and a point that is missing does no harm.
        Json &points = out["points"] = Json::array();
        for (const History::Point &point : history.points(out["id"], query.since_ms))
            points.push_back(
                {point.time_ms, point.allocations, point.frees, point.live_bytes, point.mapped_bytes, point.incidents});
        list.push_back(std::move(out));
    }
    return {{"now", now_ms},
            {"point", {"time_ms", "allocations", "frees", "live_bytes", "mapped_bytes", "incidents"}},
            {"processes", std::move(list)}};
}

}  // namespace hakmem
