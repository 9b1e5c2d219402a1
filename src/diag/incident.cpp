#include "diag/incident.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "diag/backtrace.h"
#include "diag/hunt.h"
#include "diag/message.h"
#include "diag/process.h"
#include "diag/regions.h"
#include "diag/report.h"
#include "diag/safe_read.h"
#include "diag/state.h"

namespace hakmem {
namespace {

using segment::CounterShard;
using segment::IncidentRecord;
using segment::OnError;

constinit thread_local char thread_tag[sizeof IncidentRecord::thread] = {};

// A backtrace and the module of each frame.
struct Located {
    backtrace::Trace trace;
    std::uint16_t module[backtrace::kMostFrames];

    explicit operator bool() const { return trace.frames != 0; }
};
static_assert(backtrace::kMostFrames == segment::kMaxFrames);

void locate(Located &stack) {
    if (!stack) return;
    if (backtrace::enter()) {
        state.modules.refresh();
        backtrace::leave();
    }
    for (unsigned i = 0; i < stack.trace.frames; ++i) stack.module[i] = state.modules.find(stack.trace.pc[i]);
}

// Only these come from a write past the end of the block before.
bool has_suspect(Kind kind) {
    return kind == Kind::header_overwritten || kind == Kind::large_header_corrupt ||
           kind == Kind::redzone_overwritten || kind == Kind::header_write_caught;
}

// Equal for equal kind and equal stacks, also where a library was loaded elsewhere in between. What happened before at
// a lower level is recorded once more when it is known where the memory came from: that is why the level was raised.
std::uint64_t key_of(Kind kind, const Located &stack, const Evidence &evidence) {
    std::uint64_t key = 0x9E3779B97F4A7C15 * (static_cast<std::uint64_t>(kind) + 1);
    // Found in passing: the block's own history says which bug it is.
    if (!stack) {
        key ^= state.stacks.key(evidence.previous_free) + 3 * state.stacks.key(evidence.alloc) +
               5 * state.stacks.key(evidence.suspect_alloc);
    }
    const bool origin_known = has_suspect(kind) ? evidence.suspect_alloc != 0 : evidence.previous_free != 0;
    if (stack && origin_known) key = ~key;
    for (unsigned i = 0; i < stack.trace.frames; ++i) {
        key = (key ^ state.modules.identify(stack.module[i], stack.trace.pc[i])) * 0xBF58476D1CE4E5B9;
        key ^= key >> 31;
    }
    return key != 0 ? key : 1;
}

void fill_stack(segment::Stack &out, const Located &stack) {
    out.frames = stack.trace.frames;
    for (unsigned i = 0; i < stack.trace.frames; ++i) {
        out.pc[i] = stack.trace.pc[i];
        out.module[i] = stack.module[i];
    }
}

void fill_record(IncidentRecord &record, const Finding &finding, const Evidence &evidence, const Located &stack,
                 bool bad_free) {
    const BlockFacts &facts = finding.facts;
    record.kind = static_cast<std::uint32_t>(finding.kind);
    record.address = facts.address;
    record.block = facts.block;
    record.offset = facts.block != 0 ? static_cast<std::int64_t>(facts.address - facts.block) : 0;
    if (evidence.offset_known) record.offset = evidence.offset;
    record.asked_bytes = evidence.asked_bytes;
    record.slot_bytes = facts.slot_bytes;
    record.outcome = bad_free ? static_cast<std::uint32_t>(finding.outcome) : segment::kNoOutcome;
    record.level = static_cast<std::uint32_t>(state.level.load());
    record.tid = static_cast<std::uint32_t>(process::thread_id());
    if (*thread_tag != '\0')
        std::memcpy(record.thread, thread_tag, sizeof record.thread);
    else
        prctl(PR_GET_NAME, record.thread);
    if (finding.kind == Kind::foreign_pointer) {
        record.region = static_cast<std::uint32_t>(
            decide_region(gather_region(facts.address, facts.mapped, state.modules, state.thread_descriptors)));
    }
    record.header_known = facts.header_known;
    record.header_found = facts.header_found;
    record.header_expected = facts.header_expected;
    if (has_suspect(finding.kind) && facts.left_block != 0) {
        record.suspect_address = facts.left_block;
        record.suspect_slot_bytes = facts.slot_bytes;
        record.suspect_state = static_cast<std::uint32_t>(facts.left_state);
    }
    // The header is the byte before the address.
    const std::uintptr_t center = evidence.dump_center != 0 ? evidence.dump_center : facts.address - 1;
    const MemoryDump dump = dump_around(center, state.options.dump_bytes);
    static_assert(MemoryDump::kMost == segment::kMaxDump);
    record.dump_address = dump.address;
    record.dump_bytes = static_cast<std::uint8_t>(dump.size);
    std::memcpy(record.dump, dump.bytes, dump.size);
    // What is found in passing has been made good by now; the bytes show what was there.
    const std::uintptr_t header_at = center - dump.address;
    if (evidence.found_later && finding.kind == Kind::header_overwritten && header_at < dump.size)
        record.dump[header_at] = facts.header_found;
    fill_stack(evidence.writer != nullptr ? record.writer : record.free, stack);
    state.stacks.copy(evidence.alloc, record.alloc);
    state.stacks.copy(evidence.previous_free, record.previous_free);
    state.stacks.copy(evidence.suspect_alloc, record.suspect_alloc);
}

void report(const IncidentTable::Result &result, const Finding &finding) {
    if (result.record != nullptr) {
        const segment::Header &header = state.segment.header();
        return print_incident(*result.record, state.segment.modules(), std::min(header.modules_used, kModules));
    }
    TextBuffer<128> line;
    line.put(segment::kKindNames[static_cast<unsigned>(finding.kind)]).put(": free of ").hex(finding.facts.address);
    line.put(" (no room for more incidents)");
    print_line(line.c_str());
}

void react(const IncidentTable::Result &result, const Finding &finding) {
    const OnError on_error = state.on_error.load(std::memory_order_relaxed);
    if (on_error == OnError::abort || (state.options.report_stderr && result.noted == IncidentTable::Noted::first)) {
        report(result, finding);
    }
    if (on_error == OnError::stop) kill(getpid(), SIGSTOP);
    if (on_error == OnError::abort) {
        // A handler of the program's might allocate, or not come back.
        signal(SIGABRT, SIG_DFL);
        abort();
    }
}

void record(CounterShard &shard, const Finding &finding, const Evidence &evidence, bool bad_free) {
    const auto kind = static_cast<unsigned>(finding.kind);
    const std::uint64_t now_ns = process::realtime_ns();
    ++shard.incidents[kind];
    shard.last_incident_ns[kind] = now_ns;

    Located stack;
    if (evidence.writer != nullptr) {
        stack.trace = *evidence.writer;
    } else if (evidence.stack != nullptr) {
        stack.trace = *evidence.stack;
    } else if (!evidence.found_later) {
        backtrace::capture(stack.trace, state.options.stack_depth);
        if (stack) ++shard.backtraces[static_cast<unsigned>(segment::BacktraceCause::bad_free)];
    }
    locate(stack);
    const IncidentTable::Result result =
        state.incidents.note(key_of(finding.kind, stack, evidence), now_ns,
                             [&](IncidentRecord &record) { fill_record(record, finding, evidence, stack, bad_free); });
    if (result.noted == IncidentTable::Noted::dropped) ++shard.incidents_dropped;
    react(result, finding);
    hunt.learn(finding, evidence);
}

}  // namespace

void tag_thread(const char *tag) { Text(thread_tag, sizeof thread_tag).put(tag != nullptr ? tag : ""); }

void record_bad_free(CounterShard &shard, const Finding &finding, const Evidence &evidence) {
    ++shard.header_invalid[static_cast<unsigned>(finding.outcome)];
    if (finding.incident) record(shard, finding, evidence, true);
}

void record_incident(CounterShard &shard, const Finding &finding, const Evidence &evidence) {
    record(shard, finding, evidence, false);
}

}  // namespace hakmem
