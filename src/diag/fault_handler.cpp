#include "diag/fault_handler.h"

#include <signal.h>
#include <ucontext.h>

#include <cerrno>
#include <cstdint>

#include "core/header_byte.h"

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

std::uintptr_t program_counter([[maybe_unused]] const ucontext_t *context) {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context->uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
    return context->uc_mcontext.pc;
#else
    return 0;
#endif
}

void on_fault(int signal, siginfo_t *info, void *context) {
    auto *interrupted = static_cast<ucontext_t *>(context);
    if (resume_guarded_load(interrupted)) return;
    const bool by_access = info->si_code == SEGV_ACCERR || info->si_code == SEGV_MAPERR;
    if (by_access && guard_page_hit(reinterpret_cast<std::uintptr_t>(info->si_addr), program_counter(interrupted)))
        return;
    const struct sigaction &next = previous_action;
    if ((next.sa_flags & SA_SIGINFO) != 0 && next.sa_sigaction != nullptr) {
        next.sa_sigaction(signal, info, context);
    } else if (next.sa_handler != SIG_DFL && next.sa_handler != SIG_IGN) {
        next.sa_handler(signal);
    } else {
        // Let the instruction fault once more, without us: the kernel then ends the process as it would have.
        sigaction(SIGSEGV, &previous_action, nullptr);
        if (info->si_code <= 0) raise(signal);  // sent by somebody, it would not come again by itself
    }
}

}  // namespace

void install_fault_handler(GuardPageHit hit) {
    guard_page_hit = hit;
    const int saved_errno = errno;
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
    sigemptyset(&action.sa_mask);
    struct sigaction before {};
    // Once only: chained to itself it would go round for ever.
    if (sigaction(SIGSEGV, &action, &before) == 0 && before.sa_sigaction != on_fault) previous_action = before;
    errno = saved_errno;
}

}  // namespace hakmem
