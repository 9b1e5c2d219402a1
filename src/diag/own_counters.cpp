#include "diag/own_counters.h"

#include <atomic>

#include "diag/quarantine.h"
#include "diag/state.h"

namespace hakmem {
namespace {

std::uint64_t value(std::uint64_t &counter) { return std::atomic_ref(counter).load(std::memory_order_relaxed); }

void add(hakmem_counters &sum, segment::CounterShard &shard, const std::uint32_t *slot_bytes) {
    for (unsigned c = 0; c < segment::kCounterRow; ++c) {
        const std::uint64_t allocations = value(shard.allocations[c]);
        const std::uint64_t frees = value(shard.frees[c]);
        sum.allocations += allocations;
        sum.frees += frees;
        if (c == segment::kSizeClasses) continue;
        sum.allocated_bytes += allocations * slot_bytes[c];
        sum.freed_bytes += frees * slot_bytes[c];
    }
    sum.allocated_bytes += value(shard.large_allocated_bytes);
    sum.freed_bytes += value(shard.large_freed_bytes);
    for (std::uint64_t &kind : shard.incidents) sum.incidents += value(kind);
    sum.headers_recovered += value(shard.header_invalid[static_cast<unsigned>(segment::HeaderInvalid::recovered)]);
    sum.frees_rejected += value(shard.header_invalid[static_cast<unsigned>(segment::HeaderInvalid::rejected)]);
    sum.audits += value(shard.audits);
    sum.headers_audited += value(shard.headers_audited);
}

}  // namespace

hakmem_counters own_counters() {
    hakmem_counters sum{};
    if (!state.segment) return sum;
    segment::Header &header = state.segment.header();
    const std::uint32_t used = std::atomic_ref(header.shards_used).load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < used && i < kShards; ++i) add(sum, state.segment.shards()[i], header.slot_bytes);
    // A free may be counted in one shard while the allocation in another has been read already.
    sum.live_bytes = sum.allocated_bytes > sum.freed_bytes ? sum.allocated_bytes - sum.freed_bytes : 0;
    sum.mapped_bytes = value(header.gauges.mapped_bytes);
    sum.quarantine_bytes = Quarantine::total_bytes();
    return sum;
}

}  // namespace hakmem
