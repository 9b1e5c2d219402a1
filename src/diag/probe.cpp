#include "diag/probe.h"

#include <algorithm>

#include "core/guarded_pages.h"
#include "core/header_byte.h"
#include "core/notes.h"
#include "core/page_heap.h"
#include "diag/audit.h"
#include "diag/backtrace.h"
#include "diag/evidence.h"
#include "diag/fault_handler.h"
#include "diag/hunt.h"
#include "diag/incident.h"
#include "diag/nudge.h"
#include "diag/process.h"
#include "diag/regions.h"
#include "diag/state.h"
#include "diag/trap_handler.h"
#include "diag/undisturbed.h"
#include "os/pages.h"

namespace hakmem {
namespace {

constexpr char kLibraryName[] = "libhakmem-diag.so";

// Loaded with the program, so before it has threads and before it can be in a place where loading hangs or fails.
__attribute__((constructor)) void warm_up() {
    const Undisturbed undisturbed;
    install_fault_handler(DiagProbe::guard_page_hit);
    backtrace::start();
    nudge::install(DiagProbe::nudged);
    char **environment = process::environment();
    if (!process::watches_children(environment)) process::remove_from_preload(environment, kLibraryName);
}

// How long the last look at what nobody has freed may take. Where little may be paid, a fiftieth of the run: an audit
// is so fast that this is enough for nearly every heap.
std::uint64_t last_look_ns(std::uint64_t now_ns) {
    constexpr std::uint64_t kMost = 2'000'000'000, kLeast = 1'000'000, kShare = 50;
    if (state.level.load() >= segment::Level::trace) return kMost;
    const std::uint64_t started_ns = state.segment.header().start_time_ns;
    return std::clamp(now_ns > started_ns ? (now_ns - started_ns) / kShare : 0, kLeast, kMost);
}

// Blocks that wait in quarantine are visited once more, each on a page of its own that nobody has used for long.
constexpr std::size_t kGuardHugePageFloor = std::size_t{4} << 20;

}  // namespace

constinit std::atomic<bool> DiagProbe::verify_frees_{false};
constinit thread_local DiagProbe::ThreadState *DiagProbe::this_threads_ = nullptr;
constinit thread_local DiagProbe::LetThrough DiagProbe::let_through_ = {};

void DiagProbe::follow_level() {
    segment::Level level{};
    do {
        level = state.level.load();
        verify_frees_ = level >= segment::Level::verify;
        const bool guard = level >= segment::Level::guard;
        notes::are_many = guard;
        page_heap.huge_page_floor = guard ? kGuardHugePageFloor : PageHeap::kHugePageFloor;
        // Somebody else may have followed another one meanwhile.
    } while (state.level.load() != level);
}

void DiagProbe::library_started(const SlotBytes &slot_bytes, ReleaseKept release_kept) {
    const Undisturbed undisturbed;
    Watcher::release_kept = release_kept;
    start_state(slot_bytes);
    follow_level();
    install_fault_handler(guard_page_hit);
    set_watchpoint_hit(watchpoint_hit);
}

void DiagProbe::library_ended() {
    if (!state.segment) return;
    const std::uint64_t now_ns = process::realtime_ns();
    if (this_threads_ != nullptr && this_threads_->shard != nullptr)
        audit::run(*this_threads_->shard, last_look_ns(now_ns));
    state.segment.header().ended_ns = process::realtime_ns();
}

void DiagProbe::thread_started(ThreadState &thread) {
    const Undisturbed undisturbed;
    thread.shard = state.shards.claim(static_cast<std::uint32_t>(process::thread_id()));
    const std::uint32_t index = state.shards.index_of(thread.shard);
    if (index != 0) state.thread_descriptors[index].store(this_threads_descriptor(), std::memory_order_relaxed);
    thread.watcher.follow();
    this_threads_ = &thread;
}

void DiagProbe::thread_ending(ThreadState &thread) {
    const Undisturbed undisturbed;
    thread.watcher.end(*thread.shard);
}

void DiagProbe::memory_short(ThreadState &thread) {
    const Undisturbed undisturbed;
    thread.watcher.release_all(*thread.shard);
}

void DiagProbe::thread_ended(ThreadState &thread) {
    const Undisturbed undisturbed;
    segment::CounterShard *shard = thread.shard;
    thread.watcher.stop();  // once more: what went home in between may have unwound, and so allocated
    thread.shard = nullptr;
    this_threads_ = nullptr;
    const std::uint32_t index = state.shards.index_of(shard);
    if (index != 0) state.thread_descriptors[index].store(0, std::memory_order_relaxed);
    state.shards.release(shard);
}

void DiagProbe::attend(ThreadState &thread) {
    if (state.has_news()) {
        obey_control();
        follow_level();
    }
    hunt.tidy_up();
    thread.watcher.follow();
    audit::run_if_due(*thread.shard);
}

void DiagProbe::heap_changed(const HeapGauges &gauges) {
    if (!state.segment) return;
    HeapGauges all = gauges;
    all.quarantine_bytes = Quarantine::total_bytes();
    state.segment.header().gauges = all;
}

void DiagProbe::bad_free(ThreadState &thread, const Finding &finding) {
    const Undisturbed undisturbed;
    Finding full = finding;
    record_bad_free(*thread.shard, full, evidence_of(full.facts));
    Watched watched;
    if (finding.facts.block == 0 || !find_watched(finding.facts.block, watched)) return;
    if (finding.outcome == HeaderInvalid::recovered)
        Watcher::forget(watched);
    else
        Watcher::refused(watched, finding.facts.address);
}

void DiagProbe::found_overwritten(ThreadState &thread, const Finding &finding) {
    const Undisturbed undisturbed;
    Finding full = finding;
    Evidence evidence = evidence_of(full.facts);
    evidence.found_later = true;
    record_incident(*thread.shard, full, evidence);
}

segment::CounterShard &DiagProbe::this_threads_shard() {
    segment::CounterShard *shard = this_threads_ != nullptr ? this_threads_->shard : nullptr;
    return shard != nullptr ? *shard : *state.segment.shards();  // a thread that has never allocated
}

// By the same instruction, or by another one of a function (memcpy has several) that goes on at the page's edge.
bool DiagProbe::LetThrough::goes_on(std::uintptr_t address, const backtrace::Trace &trace) const {
    constexpr std::uintptr_t kEdge = 64;
    const std::uintptr_t at = address % os::kPageBytes;
    const bool next = address - at == page + os::kPageBytes;
    if (!next && address - at != page - os::kPageBytes) return false;
    if (trace.pc[0] == pc) return true;
    return trace.frames > 1 && trace.pc[1] == caller && (next ? at < kEdge : at >= os::kPageBytes - kEdge);
}

bool DiagProbe::guard_page_hit(std::uintptr_t address, std::uintptr_t pc, bool write) {
    Span *span = GuardedPages::accused(address);
    if (span == nullptr) return false;
    const Undisturbed undisturbed;
    backtrace::Trace trace;
    backtrace::capture_interrupted(trace, state.options.stack_depth, pc, pc + 1);
    if (!let_through_.goes_on(address, trace))
        Watcher::report_access(this_threads_shard(), watched_large(span), address, write, trace);
    let_through_ = {address & ~(os::kPageBytes - 1), trace.pc[0], trace.frames > 1 ? trace.pc[1] : 0};
    return GuardedPages::permit(address);
}

audit::Result DiagProbe::audit_now() {
    if (!state.segment || this_threads_ == nullptr || this_threads_->shard == nullptr) return {};
    const audit::Result result = audit::run(*this_threads_->shard, audit::kMostNs);
    audit::run_if_due(*this_threads_->shard);
    return result;
}

void DiagProbe::watchpoint_hit(std::uintptr_t address, std::uintptr_t pc, std::uintptr_t behind) {
    const std::uintptr_t block = hunt.block_at(address);
    if (Watcher::fills_slack() || block == 0) return;
    const Undisturbed undisturbed;
    backtrace::Trace trace;
    backtrace::capture_interrupted(trace, state.options.stack_depth, pc, behind);
    // Not before: unwinding takes its time, and the block is not this thread's.
    Watched watched;
    if (hunt.block_at(address) == block && find_watched(block, watched))
        Watcher::report_caught(this_threads_shard(), watched, address, trace);
}

void DiagProbe::nudged() {
    ThreadState *thread = this_threads_;
    if (!state.segment || thread == nullptr || thread->shard == nullptr) return;
    const Undisturbed undisturbed;
    obey_control();
    follow_level();
    audit::run_if_due(*thread->shard);
}

void DiagProbe::before_fork() {
    const Undisturbed undisturbed;
    backtrace::before_fork();
}

void DiagProbe::after_fork_in_parent() { backtrace::after_fork_in_parent(); }

void DiagProbe::after_fork_in_child(ThreadState &thread) {
    const Undisturbed undisturbed;
    backtrace::after_fork_in_child();
    thread.watcher.restart_after_fork();
    restart_state_after_fork();
    audit::restart_after_fork();
    if (thread.shard != nullptr) thread_started(thread);
    hunt.restart_after_fork(thread.shard != nullptr);
}

}  // namespace hakmem
