// Metric families as Prometheus's text format. prometheus-cpp has a serializer, too, but its streams took most of a
// scrape's time.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <vector>

namespace hakmem {

// Counters and gauges only: there is nothing else in kMetrics.
std::string text_format(const std::vector<prometheus::MetricFamily> &families);

}  // namespace hakmem
