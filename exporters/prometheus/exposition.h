// What /metrics serves: reads the segments and turns the collector's sums into metric families.
#pragma once

#include <string>
#include <vector>

#include "collect/collector.h"
#include "sink/sink.h"

namespace hakmem {

// Refreshes the collector and returns the text format.
std::string scrape(Collector &collector, const std::vector<SinkStatus> &sinks = {});

// The text of a given state; `seconds` is the time that collecting it took.
std::string metrics_text(const Collector::State &state, double seconds, const std::vector<SinkStatus> &sinks);

}  // namespace hakmem
