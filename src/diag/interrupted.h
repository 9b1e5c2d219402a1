// What a signal handler is told about the code that it interrupts, by processor.
#pragma once

#include <ucontext.h>

#include <cstdint>

namespace hakmem {

inline std::uintptr_t program_counter([[maybe_unused]] const ucontext_t &context) {
#if defined(__x86_64__)
    return static_cast<std::uintptr_t>(context.uc_mcontext.gregs[REG_RIP]);
#elif defined(__aarch64__)
    return context.uc_mcontext.pc;
#else
    return 0;
#endif
}

// Of a page fault: whether it was a write. Where that is not known it counts as one.
inline bool was_write([[maybe_unused]] const ucontext_t &context) {
#if defined(__x86_64__)
    constexpr greg_t kWrite = 2;
    return (context.uc_mcontext.gregs[REG_ERR] & kWrite) != 0;
#else
    return true;
#endif
}

// Behind the instruction that a watchpoint has interrupted `at` (a return address, so to say). The trap comes behind
// the instruction, but within a repeated one while that has more to do.
inline std::uintptr_t behind_watched_instruction(std::uintptr_t at) {
#if defined(__x86_64__)
    const auto *code = reinterpret_cast<const unsigned char *>(at);
    unsigned i = 0;
    if (code[i] == 0x66) ++i;
    if (code[i] != 0xF3 && code[i] != 0xF2) return at;
    ++i;
    if ((code[i] & 0xF8) == 0x48) ++i;
    const bool is_string_write = code[i] == 0xA4 || code[i] == 0xA5 || code[i] == 0xAA || code[i] == 0xAB;
    return is_string_write ? at + 1 : at;
#else
    return at;
#endif
}

}  // namespace hakmem
