#include "top/model.h"

#include <algorithm>
#include <numeric>
#include <tuple>

#include "text/text.h"

namespace hakmem::top {
namespace {

std::uint64_t sum(const std::array<std::uint64_t, segment::kCounterRow> &row) {
    return std::accumulate(row.begin(), row.end(), std::uint64_t{0});
}

// Counters of a segment may do anything: what falls has the rate 0.
double rate(std::uint64_t before, std::uint64_t now, double seconds) {
    return now > before && seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

std::string lower(std::string text) {
    for (char &c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

bool matches(const Row &row, const std::string &filter) {
    if (filter.empty()) return true;
    const std::string wanted = lower(filter);
    for (const std::string &text : {row.process, text::clean(row.snapshot.exe), std::to_string(row.snapshot.pid)})
        if (lower(text).find(wanted) != std::string::npos) return true;
    return false;
}

// Negative, 0 or positive: whether `a` comes before `b`.
template <class T>
int compare(const T &a, const T &b) {
    return a < b ? -1 : b < a ? 1 : 0;
}

int order(const Row &a, const Row &b, Sort sort) {
    switch (sort) {
        case Sort::incidents:
            return compare(b.incidents, a.incidents);
        case Sort::live:
            return compare(b.snapshot.counters.live_bytes(), a.snapshot.counters.live_bytes());
        case Sort::mapped:
            return compare(b.snapshot.gauges.mapped_bytes, a.snapshot.gauges.mapped_bytes);
        case Sort::allocations:
            return compare(b.allocations, a.allocations);
        case Sort::pid:
            return compare(a.snapshot.pid, b.snapshot.pid);
        case Sort::process:
            return compare(a.process, b.process);
    }
    return 0;
}

}  // namespace

void Model::take(std::vector<segment::Snapshot> processes, Clock::time_point now) {
    std::map<std::string, const Row *> before;
    for (const Row &row : rows_) before[row.identity] = &row;
    const double seconds = std::chrono::duration<double>(now - taken_).count();
    std::vector<Row> rows;
    rows.reserve(processes.size());
    for (segment::Snapshot &snapshot : processes) {
        Row row;
        row.identity = snapshot.identity();
        row.process = text::clean(snapshot.process);
        row.incidents = snapshot.counters.all_incidents();
        if (const auto known = before.find(row.identity); known != before.end()) {
            const segment::Counters &old = known->second->snapshot.counters;
            row.allocations = rate(sum(old.allocations), sum(snapshot.counters.allocations), seconds);
            row.frees = rate(sum(old.frees), sum(snapshot.counters.frees), seconds);
            row.new_incidents = rate(known->second->incidents, row.incidents, seconds);
        }
        row.snapshot = std::move(snapshot);
        rows.push_back(std::move(row));
    }
    rows_ = std::move(rows);
    taken_ = now;
}

std::vector<const Row *> Model::sorted(Sort sort, bool reverse, const std::string &filter) const {
    std::vector<const Row *> found;
    for (const Row &row : rows_)
        if (matches(row, filter)) found.push_back(&row);
    // Equal ones keep their places from reading to reading.
    std::sort(found.begin(), found.end(), [&](const Row *a, const Row *b) {
        const int by_column = reverse ? order(*b, *a, sort) : order(*a, *b, sort);
        return by_column != 0 ? by_column < 0
                              : std::tie(a->snapshot.pid, a->identity) < std::tie(b->snapshot.pid, b->identity);
    });
    return found;
}

}  // namespace hakmem::top
