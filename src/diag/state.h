// What the diagnostic library knows about its process, in one place: set at start and in a fork's child, read by the
// probe and the recording of incidents. Valid at zero.
#pragma once

#include <atomic>
#include <cstdint>

#include "core/probe.h"
#include "diag/incident_table.h"
#include "diag/modules.h"
#include "diag/options.h"
#include "diag/segment_writer.h"
#include "diag/shards.h"
#include "diag/site_turns.h"
#include "diag/stack_table.h"

namespace hakmem {

struct State {
    Options options = Options::unset();
    Segment segment;  // without a base only where there is no memory at all
    ShardPool shards;
    IncidentTable incidents;
    ModuleMap modules;
    StackTable stacks;
    SiteTurns site_turns;
    // Of the thread that counts in the shard of this index (regions.h).
    std::atomic<std::uintptr_t> thread_descriptors[kShards] = {};
    std::atomic<segment::Level> level{segment::Level::count};
    std::atomic<segment::OnError> on_error{segment::OnError::keep_going};
    std::atomic<std::uint64_t> sample_bytes{0};
    std::atomic<std::uint32_t> audit_interval_s{0};
    // Raised when the above have changed, for threads that keep something of them.
    std::atomic<std::uint32_t> changes{0};
    std::atomic<std::uint32_t> control_seen{0};
    char runtime_dir[kMaxPath] = {};  // absolute; empty: no telemetry

    // The control word is not what is in force. There is a segment.
    bool has_news() const {
        return std::atomic_ref(segment.header().control.generation).load(std::memory_order_relaxed) !=
               control_seen.load(std::memory_order_relaxed);
    }
};

extern constinit State state;

// At the first use of the library: reads options, makes the segment. Says on stderr what is wrong with them.
void start_state(const SlotBytes &slot_bytes);

// In a fork's child: a segment of its own takes the place of the parent's, at the same address, with zero counts.
void restart_state_after_fork();

// Compares the control word with what is in force and follows it.
void obey_control();

}  // namespace hakmem
