// What /metrics serves: reads the segments and turns the collector's sums into metric families.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "collect/collector.h"
#include "collect/fingerprints.h"
#include "sink/sink.h"

namespace hakmem {

// What is said beside the segments' sums.
struct ExporterState {
    std::vector<SinkStatus> sinks;
    std::map<FingerprintCounts::Key, std::uint64_t> fingerprints;
};

// The most series that one group can have, whatever its processes do, and those that the exporter has by itself: how
// many groups there is room for within a budget of series. One group at least, and `other`.
std::size_t groups_within(std::size_t max_series, bool by_pid);

// Refreshes the collector and returns the text format.
std::string scrape(Collector &collector, const ExporterState &exporter = {});

// The text of a given state; `seconds` is the time that collecting it took.
std::string metrics_text(const Collector::State &state, double seconds, const ExporterState &exporter);

}  // namespace hakmem
