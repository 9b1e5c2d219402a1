#include "diag/probe.h"

#include <cstring>

#include "diag/backtrace.h"
#include "diag/fault_handler.h"
#include "diag/incident.h"
#include "diag/process.h"
#include "diag/regions.h"
#include "diag/state.h"
#include "diag/undisturbed.h"

namespace hakmem {
namespace {

constexpr char kLibraryName[] = "libhakmem-diag.so";

// Loaded with the program, so before it has threads and before it can be in a place where loading hangs or fails.
__attribute__((constructor)) void warm_up() {
    const Undisturbed undisturbed;
    install_fault_handler();
    backtrace::start();
    const char *children = process::variable(process::environment(), "HAKMEM_CHILDREN");
    if (children != nullptr && std::strcmp(children, "none") == 0) {
        process::remove_from_preload(process::environment(), kLibraryName);
    }
}

}  // namespace

constinit std::atomic<bool> DiagProbe::verify_frees_{false};

void DiagProbe::follow_level() { verify_frees_ = state.level.load() >= segment::Level::verify; }

void DiagProbe::library_started(const SlotBytes &slot_bytes) {
    const Undisturbed undisturbed;
    start_state(slot_bytes);
    follow_level();
    install_fault_handler();
}

void DiagProbe::library_ended() {
    if (state.segment) state.segment.header().ended_ns = process::realtime_ns();
}

void DiagProbe::thread_started(ThreadState &thread) {
    const Undisturbed undisturbed;
    thread.shard = state.shards.claim(static_cast<std::uint32_t>(process::thread_id()));
    const std::uint32_t index = state.shards.index_of(thread.shard);
    if (index != 0) state.thread_descriptors[index].store(this_threads_descriptor(), std::memory_order_relaxed);
}

void DiagProbe::thread_ended(ThreadState &thread) {
    const Undisturbed undisturbed;
    segment::CounterShard *shard = thread.shard;
    thread.shard = nullptr;
    const std::uint32_t index = state.shards.index_of(shard);
    if (index != 0) state.thread_descriptors[index].store(0, std::memory_order_relaxed);
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
    const Undisturbed undisturbed;
    record_bad_free(*thread.shard, finding);
}

void DiagProbe::before_fork() {
    const Undisturbed undisturbed;
    backtrace::before_fork();
}

void DiagProbe::after_fork_in_parent() { backtrace::after_fork_in_parent(); }

void DiagProbe::after_fork_in_child(ThreadState &thread) {
    const Undisturbed undisturbed;
    backtrace::after_fork_in_child();
    restart_state_after_fork();
    if (thread.shard != nullptr) thread_started(thread);
}

}  // namespace hakmem
