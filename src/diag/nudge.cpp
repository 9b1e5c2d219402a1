#include "diag/nudge.h"

#include <signal.h>

#include <atomic>
#include <cerrno>

#include "diag/state.h"

namespace hakmem::nudge {
namespace {

constexpr int kSignal = SIGURG;

constinit std::atomic<bool> installed{false};
void (*call_in_thread)() = nullptr;

void on_signal(int) {
    const int saved_errno = errno;
    call_in_thread();
    errno = saved_errno;
}

}  // namespace

void install(void (*call)()) {
    const int saved_errno = errno;
    struct sigaction before {};
    if (sigaction(kSignal, nullptr, &before) == 0 && (before.sa_flags & SA_SIGINFO) == 0 &&
        before.sa_handler == SIG_DFL) {
        call_in_thread = call;
        struct sigaction action {};
        action.sa_handler = on_signal;
        action.sa_flags = SA_ONSTACK | SA_RESTART;
        sigemptyset(&action.sa_mask);
        installed = sigaction(kSignal, &action, nullptr) == 0;
        if (installed && state.segment) state.segment.header().nudge_signal = kSignal;
    }
    errno = saved_errno;
}

std::uint32_t signal_number() { return installed ? kSignal : 0; }

}  // namespace hakmem::nudge
