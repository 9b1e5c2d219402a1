#include "process/json.h"

#include <nlohmann/json.hpp>

#include "text/text.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

template <std::size_t N>
Json by_name(const std::array<std::uint64_t, N> &values, const char *const (&names)[N]) {
    Json out = Json::object();
    for (std::size_t i = 0; i < N; ++i) out[names[i]] = values[i];
    return out;
}

Json by_size_class(const segment::Snapshot &snapshot) {
    Json out = Json::object();
    const segment::Counters &counters = snapshot.counters;
    for (unsigned i = 0; i < segment::kCounterRow; ++i) {
        if (counters.allocations[i] == 0 && counters.frees[i] == 0) continue;
        const std::string name = i == segment::kSizeClasses ? "large" : std::to_string(snapshot.slot_bytes[i]);
        out[name] = {{"allocations", counters.allocations[i]},
                     {"frees", counters.frees[i]},
                     {"live_blocks", counters.live_blocks(i)}};
    }
    return out;
}

std::uint64_t sum(const std::array<std::uint64_t, segment::kCounterRow> &row) {
    std::uint64_t total = 0;
    for (const std::uint64_t value : row) total += value;
    return total;
}

}  // namespace

Json to_json(const segment::Snapshot &snapshot) {
    const segment::Counters &in = snapshot.counters;
    Json counters;
    counters["allocations"] = sum(in.allocations);
    counters["frees"] = sum(in.frees);
    counters["allocated_bytes"] = in.allocated_bytes;
    counters["freed_bytes"] = in.freed_bytes;
    counters["live_bytes"] = in.live_bytes();
    counters["cached_bytes"] = snapshot.cached_bytes();
    counters["mapped_bytes"] = snapshot.gauges.mapped_bytes;
    counters["quarantine_bytes"] = snapshot.gauges.quarantine_bytes;
    counters["size_classes"] = by_size_class(snapshot);
    counters["free_path"] = by_name(in.free_path, segment::kFreePathNames);
    counters["header_invalid"] = by_name(in.header_invalid, segment::kHeaderInvalidNames);
    counters["slow_path"] = by_name(in.slow_path, segment::kSlowReasonNames);
    counters["mincore_calls"] = by_name(in.mincore_calls, segment::kMincoreResultNames);
    counters["incidents"] = by_name(in.incidents, segment::kKindNames);
    counters["incidents_dropped"] = in.incidents_dropped;
    counters["headers_audited"] = in.headers_audited;
    counters["audits"] = in.audits;
    counters["backtraces"] = by_name(in.backtraces, segment::kBacktraceCauseNames);

    Json out;
    out["pid"] = snapshot.pid;
    out["process"] = text::clean(snapshot.process);
    out["exe"] = text::clean(snapshot.exe);
    out["level"] = segment::kLevelNames[static_cast<std::size_t>(snapshot.level)];
    out["start_time"] = text::rfc3339(snapshot.start_time_ns);
    if (snapshot.ended_ns != 0) out["end_time"] = text::rfc3339(snapshot.ended_ns);
    out["alive"] = snapshot.alive;
    out["threads"] = snapshot.threads;
    out["version"] = text::clean(snapshot.version);
    out["counters"] = std::move(counters);
    return out;
}

}  // namespace hakmem
