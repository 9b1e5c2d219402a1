#include "collect/history.h"

#include <algorithm>
#include <numeric>

namespace hakmem {
namespace {

History::Point point_of(const segment::Snapshot &snapshot, std::uint64_t now_ms) {
    const auto sum = [](const auto &row) { return std::accumulate(row.begin(), row.end(), std::uint64_t{0}); };
    const segment::Counters &counters = snapshot.counters;
    return {now_ms,
            sum(counters.allocations),
            sum(counters.frees),
            counters.live_bytes(),
            snapshot.gauges.mapped_bytes,
            counters.all_incidents()};
}

}  // namespace

void History::sample(const std::vector<segment::Snapshot> &processes, std::uint64_t now_ms) {
    const std::lock_guard lock(mutex_);
    std::map<std::string, std::deque<Point>> kept;
    for (const segment::Snapshot &snapshot : processes) {
        const std::string identity = snapshot.identity();
        const auto known = processes_.find(identity);
        if (known == processes_.end() && kept.size() >= kMaxProcesses) continue;
        std::deque<Point> &points = kept[identity];
        if (known != processes_.end()) points = std::move(known->second);
        // A process that has ended has nothing to tell after its last point; a clock that was set back must not fold
        // the line over.
        if (!points.empty() && (!snapshot.alive || now_ms <= points.back().time_ms)) continue;
        points.push_back(point_of(snapshot, now_ms));
        if (points.size() > kMaxPoints) points.pop_front();
    }
    processes_ = std::move(kept);
}

std::vector<History::Point> History::points(const std::string &identity, std::uint64_t since_ms) const {
    const std::lock_guard lock(mutex_);
    const auto found = processes_.find(identity);
    if (found == processes_.end()) return {};
    const std::deque<Point> &all = found->second;
    const auto first = std::upper_bound(all.begin(), all.end(), since_ms,
                                        [](std::uint64_t time, const Point &point) { return time < point.time_ms; });
    return {first, all.end()};
}

}  // namespace hakmem
