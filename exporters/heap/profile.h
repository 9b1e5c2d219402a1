// The heap profile of a process: what each allocation stack holds now and has allocated in all, estimated from the
// samples that the level trace takes.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "incident/incident.h"
#include "segment/reader.h"
#include "symbolize/symbolizer.h"

namespace hakmem {

struct HeapSite {
    Stack stack;  // innermost frame first
    std::uint64_t live_bytes = 0;
    std::uint64_t live_objects = 0;
    std::uint64_t total_bytes = 0;
    std::uint64_t total_objects = 0;
};

// Symbolizes the sampled stacks. What was symbolized once is remembered, for a page asks again every few seconds.
// Thread-safe.
class HeapProfiler {
  public:
    // `snapshot` is one with Parts::heap.
    std::vector<HeapSite> sites(const segment::Snapshot &snapshot);

  private:
    Stack symbolize(const segment::Frames &frames, const segment::Snapshot &snapshot);

    using Place = std::tuple<std::string, std::string, std::uint64_t>;  // module, build-id, offset
    static constexpr std::size_t kMaxRemembered = 100'000;

    std::mutex mutex_;
    Symbolizer symbolizer_;
    std::map<Place, Stack> known_;
};

nlohmann::ordered_json to_json(const std::vector<HeapSite> &sites);

}  // namespace hakmem
