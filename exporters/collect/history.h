// The last minutes of every process, one point a second, so that a page that is opened after the alert shows what went
// before. Kept in memory only: Prometheus is for more than minutes. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "segment/reader.h"

namespace hakmem {

class History {
  public:
    struct Point {
        std::uint64_t time_ms = 0;  // since the epoch
        std::uint64_t allocations = 0;
        std::uint64_t frees = 0;
        std::uint64_t live_bytes = 0;
        std::uint64_t mapped_bytes = 0;
        std::uint64_t incidents = 0;
    };
    static constexpr std::size_t kMaxPoints = 600;
    static constexpr std::size_t kMaxProcesses = 1'000;  // those beyond have no history

    // Adds a point to each of these processes and forgets all others.
    void sample(const std::vector<segment::Snapshot> &processes, std::uint64_t now_ms);

    // The points of a process (by Snapshot::identity) that are later than `since_ms`, oldest first.
    std::vector<Point> points(const std::string &identity, std::uint64_t since_ms) const;

  private:
    mutable std::mutex mutex_;
    std::map<std::string, std::deque<Point>> processes_;
};

}  // namespace hakmem
