#include "diag/trap_handler.h"

#include <pthread.h>
#include <signal.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "diag/interrupted.h"
#include "diag/signal_chain.h"
#include "diag/watchpoints.h"

namespace hakmem {
namespace {

// glibc's siginfo_t has no names for these yet (Linux 5.13).
constexpr int kTrapPerf = 6;
struct PerfTrap {
    std::uintptr_t address;
    unsigned long data;
    std::uint32_t type;
    std::uint32_t flags;
};
constexpr std::uint32_t kLate = 1;  // the signal was blocked when it happened

constinit struct sigaction previous_action {};
constinit WatchpointHit watchpoint_hit = nullptr;

PerfTrap perf_trap(const siginfo_t *info) {
    PerfTrap trap;
    std::memcpy(&trap, reinterpret_cast<const char *>(info) + offsetof(siginfo_t, si_addr), sizeof trap);
    return trap;
}

void on_trap(int signal, siginfo_t *info, void *context) {
    if (info->si_code == kTrapPerf) {
        const PerfTrap trap = perf_trap(info);
        if (trap.data == Watchpoint::kMark) {
            const int saved_errno = errno;
            // Where it comes late, nobody knows any more who wrote.
            if ((trap.flags & kLate) == 0) {
                const std::uintptr_t at = program_counter(*static_cast<ucontext_t *>(context));
                watchpoint_hit(trap.address, at, behind_watched_instruction(at));
            }
            errno = saved_errno;
            return;
        }
    }
    if (pass_on(previous_action, signal, info, context) || previous_action.sa_handler == SIG_IGN) return;
    // As it would have ended without us, as soon as the handler returns.
    sigaction(signal, &previous_action, nullptr);
    raise(signal);
}

}  // namespace

void set_watchpoint_hit(WatchpointHit hit) { watchpoint_hit = hit; }

void install_trap_handler() {
    const int saved_errno = errno;
    struct sigaction action {};
    action.sa_sigaction = on_trap;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    put_in_front(SIGTRAP, action, previous_action);
    errno = saved_errno;
}

void let_traps_through() {
    sigset_t traps;
    sigemptyset(&traps);
    sigaddset(&traps, SIGTRAP);
    pthread_sigmask(SIG_UNBLOCK, &traps, nullptr);
}

}  // namespace hakmem
