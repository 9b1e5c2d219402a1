#include "diag/probe.h"

#include <cerrno>

#include "diag/process.h"
#include "diag/state.h"

namespace hakmem {
namespace {

class KeepErrno {
  public:
    KeepErrno() : saved_(errno) {}
    ~KeepErrno() { errno = saved_; }
    KeepErrno(const KeepErrno &) = delete;
    KeepErrno &operator=(const KeepErrno &) = delete;

  private:
    int saved_;
};

}  // namespace

constinit std::atomic<bool> DiagProbe::verify_frees_{false};

void DiagProbe::follow_level() { verify_frees_ = state.level.load() >= segment::Level::verify; }

void DiagProbe::library_started(const SlotBytes &slot_bytes) {
    const KeepErrno keep;
    start_state(slot_bytes);
    follow_level();
}

void DiagProbe::library_ended() {
    if (state.segment) state.segment.header().ended_ns = process::realtime_ns();
}

void DiagProbe::thread_started(ThreadState &thread) {
    const KeepErrno keep;
    thread.shard = state.shards.claim(static_cast<std::uint32_t>(process::thread_id()));
}

void DiagProbe::thread_ended(ThreadState &thread) {
    const KeepErrno keep;
    segment::CounterShard *shard = thread.shard;
    thread.shard = nullptr;
    state.shards.release(shard);
}

void DiagProbe::poll(ThreadState &) {
    if (!state.segment) return;
    const std::uint32_t generation =
        std::atomic_ref(state.segment.header().control.generation).load(std::memory_order_relaxed);
    if (generation == state.control_seen.load(std::memory_order_relaxed)) return;
    obey_control();
    follow_level();
}

void DiagProbe::heap_changed(const HeapGauges &gauges) {
    if (state.segment) state.segment.header().gauges = gauges;
}

void DiagProbe::bad_free(ThreadState &thread, const Finding &finding) {
    const KeepErrno keep;
    segment::CounterShard &shard = *thread.shard;
    ++shard.header_invalid[static_cast<unsigned>(finding.outcome)];
    if (!finding.incident) return;
    ++shard.incidents[static_cast<unsigned>(finding.kind)];
    shard.last_incident_ns[static_cast<unsigned>(finding.kind)] = process::realtime_ns();
}

void DiagProbe::before_fork() {}
void DiagProbe::after_fork_in_parent() {}

void DiagProbe::after_fork_in_child(ThreadState &thread) {
    const KeepErrno keep;
    restart_state_after_fork();
    if (thread.shard != nullptr) thread_started(thread);
}

}  // namespace hakmem
