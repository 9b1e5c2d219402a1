// The audit: a sweep over every header of the heap while the program runs, so that corruption is found before a free
// trips over it, and also on blocks that nobody frees. At `guard` also over slack and over quarantined memory.
//
// What looks wrong is looked at again after a pause, as another thread may be in the middle of changing it; what stays
// wrong becomes an incident with the left neighbour as the suspect, and its header is repaired, so that the block's own
// free is not a second incident.
#pragma once

#include <cstdint>

#include "segment/layout.h"

namespace hakmem::audit {

struct Result {
    std::uint64_t headers = 0;  // checked
    std::uint32_t corrupt = 0;
    bool ran = false;  // no other was going on
    bool complete = false;
};

inline constexpr std::uint64_t kMostNs = 60'000'000'000;

// One sweep on the calling thread, whose shard it is. Stops after `most_ns` nanoseconds.
Result run(segment::CounterShard &shard, std::uint64_t most_ns);

// Runs an audit if somebody has asked for one or the interval is over. For slow paths: a comparison or two if not.
void run_if_due(segment::CounterShard &shard);

}  // namespace hakmem::audit
