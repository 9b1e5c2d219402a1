// The table of all metrics: the one place that has their names, types, labels and help texts. The collectable makes its
// families from it, the reference page of the docs is generated from it.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace hakmem {

enum class MetricType { counter, gauge };

enum class Metric : std::size_t {
    build_info,
    processes,
    allocations,
    frees,
    allocated_bytes,
    freed_bytes,
    free_path,
    header_invalid,
    slow_path,
    mincore_calls,
    incidents,
    incidents_dropped,
    headers_audited,
    audits,
    live_bytes,
    cached_bytes,
    mapped_bytes,
    quarantine_bytes,
    live_blocks,
    backtraces,
    last_incident,
    scrape_duration,
    segments,
    segment_errors,
    sink_delivered,
    sink_rejected,
    sink_failures,
    sink_backlog,
    in_other,
    fingerprints,
    series,
};

struct MetricDescription {
    Metric metric;
    std::string_view name;
    MetricType type;
    bool by_process;         // has the labels `process` and, with --label-pid, `pid`
    std::string_view label;  // further label, empty for none
    std::string_view help;
};

inline constexpr MetricDescription kMetrics[] = {
    {Metric::build_info, "hakmem_build_info", MetricType::gauge, false, "version", "Always 1; the exporter's version."},
    {Metric::processes, "hakmem_processes", MetricType::gauge, true, "level",
     "Running processes under the diagnostic allocator."},
    {Metric::allocations, "hakmem_allocations_total", MetricType::counter, true, "size_class",
     "Blocks handed out, by slot size in bytes."},
    {Metric::frees, "hakmem_frees_total", MetricType::counter, true, "size_class",
     "Blocks taken back, by slot size in bytes."},
    {Metric::allocated_bytes, "hakmem_allocated_bytes_total", MetricType::counter, true, "",
     "Bytes of the slots handed out."},
    {Metric::freed_bytes, "hakmem_freed_bytes_total", MetricType::counter, true, "", "Bytes of the slots taken back."},
    {Metric::free_path, "hakmem_free_path_total", MetricType::counter, true, "path",
     "Frees by what answered them: the one-byte header, the 16-byte header, or the slow path."},
    {Metric::header_invalid, "hakmem_header_invalid_total", MetricType::counter, true, "outcome",
     "Frees whose header was not valid: recovered (our block, header repaired), foreign (another allocator's, passed "
     "on), rejected (a bad free)."},
    {Metric::slow_path, "hakmem_slow_path_total", MetricType::counter, true, "reason",
     "Entries into the allocator's slow path."},
    {Metric::mincore_calls, "hakmem_mincore_calls_total", MetricType::counter, true, "result",
     "mincore system calls made to learn whether memory before a pointer is mapped."},
    {Metric::incidents, "hakmem_incidents_total", MetricType::counter, true, "kind", "Heap errors detected."},
    {Metric::incidents_dropped, "hakmem_incidents_dropped_total", MetricType::counter, true, "",
     "Heap errors counted but not recorded, for want of room."},
    {Metric::headers_audited, "hakmem_headers_audited_total", MetricType::counter, true, "",
     "Block headers checked by audits."},
    {Metric::audits, "hakmem_audits_total", MetricType::counter, true, "", "Audits of the whole heap."},
    {Metric::live_bytes, "hakmem_live_bytes", MetricType::gauge, true, "", "Bytes of slots in use."},
    {Metric::cached_bytes, "hakmem_cached_bytes", MetricType::gauge, true, "", "Bytes cut for blocks and not in use."},
    {Metric::mapped_bytes, "hakmem_mapped_bytes", MetricType::gauge, true, "",
     "Bytes of address space obtained from the system."},
    {Metric::quarantine_bytes, "hakmem_quarantine_bytes", MetricType::gauge, true, "",
     "Freed bytes held back from reuse."},
    {Metric::live_blocks, "hakmem_live_blocks", MetricType::gauge, true, "size_class",
     "Blocks in use, by slot size in bytes."},
    {Metric::backtraces, "hakmem_backtraces_total", MetricType::counter, true, "cause", "Stacks captured."},
    {Metric::last_incident, "hakmem_last_incident_timestamp_seconds", MetricType::gauge, true, "kind",
     "When the last heap error of the kind was detected, in seconds since the epoch; absent if none was."},
    {Metric::scrape_duration, "hakmem_exporter_scrape_duration_seconds", MetricType::gauge, false, "",
     "Time that this scrape took to read all segments."},
    {Metric::segments, "hakmem_exporter_segments", MetricType::gauge, false, "", "Segment files read."},
    {Metric::segment_errors, "hakmem_exporter_segment_errors_total", MetricType::counter, false, "",
     "Reads of segment files that failed."},
    {Metric::sink_delivered, "hakmem_exporter_sink_delivered_total", MetricType::counter, false, "sink",
     "Incidents, or their raised counts, that the sink took."},
    {Metric::sink_rejected, "hakmem_exporter_sink_rejected_total", MetricType::counter, false, "sink",
     "Incidents that the sink said it will never take."},
    {Metric::sink_failures, "hakmem_exporter_sink_failures_total", MetricType::counter, false, "sink",
     "Deliveries that failed and are tried again."},
    {Metric::sink_backlog, "hakmem_exporter_sink_backlog", MetricType::gauge, false, "sink",
     "Incidents that wait in the store for the sink."},
    {Metric::in_other, "hakmem_exporter_segments_in_other", MetricType::gauge, false, "",
     "Segment files whose process has no series of its own, for want of room: they are in process=\"other\"."},
    {Metric::fingerprints, "hakmem_fingerprint_incidents_total", MetricType::counter, true, "fingerprint",
     "Heap errors by process, kind and fingerprint, of the first hundred bugs that this exporter saw; the rest is in "
     "\"other\"."},
    {Metric::series, "hakmem_exporter_series", MetricType::gauge, false, "", "Series of this scrape."},
};

static_assert(
    []() {
        for (std::size_t i = 0; i < std::size(kMetrics); ++i) {
            if (static_cast<std::size_t>(kMetrics[i].metric) != i) return false;
            if (kMetrics[i].name.ends_with("_total") != (kMetrics[i].type == MetricType::counter)) return false;
        }
        return true;
    }(),
    "rows stand in the order of the enumeration, and counters end in _total");

}  // namespace hakmem
