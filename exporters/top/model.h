// What `hakmem top` knows: the last reading of each process, and the rates since the one before.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "segment/reader.h"

namespace hakmem::top {

struct Row {
    segment::Snapshot snapshot;
    std::string identity;
    std::string process;  // clean text
    std::uint64_t incidents = 0;
    // A second; 0 at the first sight of a process.
    double allocations = 0;
    double frees = 0;
    double new_incidents = 0;
};

enum class Sort { incidents, live, mapped, allocations, pid, process };
inline constexpr const char *kSortNames[] = {"incidents", "live", "mapped", "allocations", "pid", "process"};

class Model {
  public:
    using Clock = std::chrono::steady_clock;

    void take(std::vector<segment::Snapshot> processes, Clock::time_point now);

    const std::vector<Row> &rows() const { return rows_; }
    // Those whose name, program or pid contains `filter`, in any case. The first is the largest, or the first by name
    // or number; `reverse` turns that round.
    std::vector<const Row *> sorted(Sort sort, bool reverse, const std::string &filter) const;

  private:
    std::vector<Row> rows_;
    Clock::time_point taken_{};
};

}  // namespace hakmem::top
