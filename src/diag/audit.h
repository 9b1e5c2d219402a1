// The audit: a sweep over every header of the heap while the program runs, so that corruption is found before a free
// trips over it, and also on blocks that nobody frees. At `guard` also over slack and over quarantined memory.
//
// What looks wrong is looked at again after a pause, as another thread may be in the middle of changing it; what stays
// wrong becomes an incident with the left neighbour as the suspect, and its header is repaired, so that the block's own
// free is not a second incident.
#pragma once

#include <cstdint>

#include "diag/state.h"
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

// The number of the last request for an audit.
inline std::uint32_t requested(segment::Header &header) {
    return std::atomic_ref(header.control.audit_request).load(std::memory_order_seq_cst);
}

// Somebody has asked for one that has not been made yet. There is a segment, here and below.
inline bool is_requested() {
    segment::Header &header = state.segment.header();
    return requested(header) != std::atomic_ref(header.audits_done).load(std::memory_order_relaxed);
}

// There is one every so often.
inline bool is_periodic() { return state.audit_interval_s.load(std::memory_order_relaxed) != 0; }

inline bool may_be_due() { return is_requested() || is_periodic(); }

// In a fork's child: another thread's audit was going on in the parent, perhaps.
void restart_after_fork();

// Runs an audit if somebody has asked for one or the interval is over. For slow paths.
void run_if_due(segment::CounterShard &shard);

}  // namespace hakmem::audit
