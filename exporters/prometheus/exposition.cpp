#include "prometheus/exposition.h"

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>
#include <vector>

#include "prometheus/metrics.h"
#include "prometheus/text_format.h"
#include "text/text.h"
#include "version.h"

namespace hakmem {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;

constexpr double kNsPerSecond = 1e9;
constexpr std::size_t kMaxSinkLabel = 200;  // bytes of a URL; the engines' limit for a value is 1 KiB
constexpr std::size_t kMaxLabels = 3;       // of one series: process, pid and the metric's own

std::string class_label(std::uint32_t slot_bytes) {
    if (slot_bytes == kLargeClass) return "large";
    return slot_bytes == kOtherClass ? kOther : std::to_string(slot_bytes);
}

// Fills one family a row of kMetrics.
class Families {
  public:
    Families() {
        for (const MetricDescription &row : kMetrics) {
            MetricFamily family;
            family.name = row.name;
            family.help = row.help;
            family.type =
                row.type == MetricType::counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
            families_.push_back(std::move(family));
        }
    }

    void add(Metric metric, double value, const GroupKey *group = nullptr, const std::string &label = {}) {
        const auto index = static_cast<std::size_t>(metric);
        const MetricDescription &row = kMetrics[index];
        ClientMetric &sample = families_[index].metric.emplace_back();
        sample.label.reserve(kMaxLabels);
        if (group != nullptr) {
            sample.label.push_back({"process", group->process});
            if (!group->pid.empty()) sample.label.push_back({"pid", group->pid});
        }
        if (!row.label.empty()) sample.label.push_back({std::string(row.label), label});
        (row.type == MetricType::counter ? sample.counter.value : sample.gauge.value) = value;
    }

    // One series a value, named by the table: all are there from the start, so that alerts find them at 0.
    template <std::size_t N>
    void add_all(Metric metric, const std::array<std::uint64_t, N> &values, const char *const (&names)[N],
                 const GroupKey &group) {
        for (std::size_t i = 0; i < N; ++i) add(metric, static_cast<double>(values[i]), &group, names[i]);
    }

    // Two labels of its own: the kind is the fingerprint's, and does not add series.
    void add_fingerprint(const FingerprintCounts::Key &key, double value) {
        const auto &[process, kind, fingerprint] = key;
        const GroupKey group{process, {}};
        add(Metric::fingerprints, value, &group, fingerprint);
        families_[static_cast<std::size_t>(Metric::fingerprints)].metric.back().label.push_back({"kind", kind});
    }

    std::size_t series() const {
        return std::accumulate(families_.begin(), families_.end(), std::size_t{0},
                               [](std::size_t sum, const MetricFamily &family) { return sum + family.metric.size(); });
    }

    std::vector<MetricFamily> take() { return std::move(families_); }

  private:
    std::vector<MetricFamily> families_;
};

void add_group(Families &families, const GroupKey &group, const Totals &totals) {
    const segment::Counters &counters = totals.counters;
    const auto add = [&](Metric metric, std::uint64_t value) {
        families.add(metric, static_cast<double>(value), &group);
    };
    families.add_all(Metric::processes, totals.processes, segment::kLevelNames, group);
    // Size classes that a process never used have no series.
    for (const auto &[slot_bytes, sums] : totals.size_classes) {
        const std::string label = class_label(slot_bytes);
        families.add(Metric::allocations, static_cast<double>(sums.allocations), &group, label);
        families.add(Metric::frees, static_cast<double>(sums.frees), &group, label);
        families.add(Metric::live_blocks, static_cast<double>(sums.live_blocks), &group, label);
    }
    add(Metric::allocated_bytes, counters.allocated_bytes);
    add(Metric::freed_bytes, counters.freed_bytes);
    families.add_all(Metric::free_path, counters.free_path, segment::kFreePathNames, group);
    families.add_all(Metric::header_invalid, counters.header_invalid, segment::kHeaderInvalidNames, group);
    families.add_all(Metric::slow_path, counters.slow_path, segment::kSlowReasonNames, group);
    families.add_all(Metric::mincore_calls, counters.mincore_calls, segment::kMincoreResultNames, group);
    families.add_all(Metric::incidents, counters.incidents, segment::kKindNames, group);
    add(Metric::incidents_dropped, counters.incidents_dropped);
    add(Metric::headers_audited, counters.headers_audited);
    add(Metric::audits, counters.audits);
    add(Metric::live_bytes, totals.live_bytes);
    add(Metric::cached_bytes, totals.cached_bytes);
    add(Metric::mapped_bytes, totals.mapped_bytes);
    add(Metric::quarantine_bytes, totals.quarantine_bytes);
    families.add_all(Metric::backtraces, counters.backtraces, segment::kBacktraceCauseNames, group);
    for (unsigned i = 0; i < segment::kKinds; ++i)
        if (counters.last_incident_ns[i] != 0)
            families.add(Metric::last_incident, static_cast<double>(counters.last_incident_ns[i]) / kNsPerSecond,
                         &group, segment::kKindNames[i]);
}

// prometheus-cpp's view of one collected state.
class StateCollectable : public prometheus::Collectable {
  public:
    StateCollectable(const Collector::State &state, double seconds, const ExporterState &exporter)
        : state_(state), seconds_(seconds), exporter_(exporter) {}

    std::vector<MetricFamily> Collect() const override {
        Families families;
        families.add(Metric::build_info, 1, nullptr, HAKMEM_VERSION);
        for (const auto &[group, totals] : state_.groups) add_group(families, group, totals);
        families.add(Metric::scrape_duration, seconds_);
        families.add(Metric::segments, static_cast<double>(state_.segments));
        families.add(Metric::segment_errors, static_cast<double>(state_.segment_errors));
        for (const SinkStatus &sink : exporter_.sinks) {
            const std::string name = text::clean(sink.name.substr(0, kMaxSinkLabel));
            families.add(Metric::sink_delivered, static_cast<double>(sink.delivered), nullptr, name);
            families.add(Metric::sink_rejected, static_cast<double>(sink.rejected), nullptr, name);
            families.add(Metric::sink_failures, static_cast<double>(sink.failures), nullptr, name);
            families.add(Metric::sink_backlog, static_cast<double>(sink.backlog), nullptr, name);
        }
        for (const auto &[key, times] : exporter_.fingerprints)
            families.add_fingerprint(key, static_cast<double>(times));
        families.add(Metric::in_other, static_cast<double>(state_.in_other));
        families.add(Metric::series, static_cast<double>(families.series() + 1));
        return families.take();
    }

  private:
    const Collector::State &state_;
    const double seconds_;
    const ExporterState &exporter_;
};

constexpr std::size_t kSeriesOfGroup = 3 * (kMaxClasses + 1) + std::size(segment::kLevelNames) +
                                       std::size(segment::kFreePathNames) + std::size(segment::kHeaderInvalidNames) +
                                       std::size(segment::kSlowReasonNames) + std::size(segment::kMincoreResultNames) +
                                       2 * std::size(segment::kKindNames) + std::size(segment::kBacktraceCauseNames) +
                                       9;
constexpr std::size_t kSeriesOfExporter = FingerprintCounts::kMaxSeries + 100;  // with room for twenty sinks

}  // namespace

std::size_t groups_within(std::size_t max_series, bool by_pid) {
    const std::size_t room = (max_series - std::min(max_series, kSeriesOfExporter)) / kSeriesOfGroup;
    // With pids the ended ones have half as many beside them.
    return std::max<std::size_t>(1, (room - std::min<std::size_t>(room, 1)) * (by_pid ? 2 : 3) / 3);
}

std::string metrics_text(const Collector::State &state, double seconds, const ExporterState &exporter) {
    return text_format(StateCollectable(state, seconds, exporter).Collect());
}

std::string scrape(Collector &collector, const ExporterState &exporter) {
    const auto begin = std::chrono::steady_clock::now();
    collector.refresh();
    const Collector::State state = collector.state();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    return metrics_text(state, elapsed.count(), exporter);
}

}  // namespace hakmem
