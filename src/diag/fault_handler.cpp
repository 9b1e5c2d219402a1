#include "diag/fault_handler.h"

#include <signal.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdint>

#include "core/header_byte.h"
#include "diag/interrupted.h"
#include "diag/signal_chain.h"

namespace hakmem {

namespace {

// As guarded_load's assembly writes it: distances from the entry's own fields.
struct GuardedLoad {
    std::int32_t load;
    std::int32_t resume;
};

extern "C" const GuardedLoad __start_hakmem_guarded_loads[] __attribute__((weak, visibility("hidden")));
extern "C" const GuardedLoad __stop_hakmem_guarded_loads[] __attribute__((weak, visibility("hidden")));

constinit struct sigaction previous_action {};
constinit GuardPageHit guard_page_hit = nullptr;

std::uintptr_t target(const std::int32_t &distance) {
    return reinterpret_cast<std::uintptr_t>(&distance) + static_cast<std::intptr_t>(distance);
}

// True if the fault was a guarded load's; the context then goes on behind it.
bool resume_guarded_load([[maybe_unused]] ucontext_t *context) {
#if defined(__x86_64__)
    auto &registers = context->uc_mcontext.gregs;
    for (const GuardedLoad *entry = __start_hakmem_guarded_loads; entry != __stop_hakmem_guarded_loads; ++entry) {
        if (target(entry->load) != static_cast<std::uintptr_t>(registers[REG_RIP])) continue;
        registers[REG_RAX] = header_byte::kUnreadable;
        registers[REG_RIP] = static_cast<greg_t>(target(entry->resume));
        return true;
    }
#endif
    return false;
}

void on_fault(int signal, siginfo_t *info, void *context) {
    auto *interrupted = static_cast<ucontext_t *>(context);
    if (resume_guarded_load(interrupted)) return;
    const bool by_access = info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR;
    if (by_access && guard_page_hit(reinterpret_cast<std::uintptr_t>(info->si_addr), program_counter(*interrupted),
                                    was_write(*interrupted)))
        return;
    if (pass_on(previous_action, signal, info, context)) return;
    // Let the instruction fault once more, without us: the kernel then ends the process as it would have.
    sigaction(SIGSEGV, &previous_action, nullptr);
    if (info->si_code <= 0) raise(signal);  // sent by somebody, it would not come again by itself
}

}  // namespace

void install_fault_handler(GuardPageHit hit) {
    guard_page_hit = hit;
    const int saved_errno = errno;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    put_in_front(SIGSEGV, action, previous_action);
    errno = saved_errno;
}

}  // namespace hakmem
