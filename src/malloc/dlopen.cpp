// dlopen without RTLD_DEEPBIND. A module that is loaded with it (PHP loads all of its modules so) takes malloc and free
// from libc in place of the preloaded ones, and the first block that the program hands it to free, or the other way
// round, ends the process. docs/decisions/2026-11-25-deepbind.md.
#include <dlfcn.h>

#include <atomic>

namespace {

using Dlopen = void *(*)(const char *, int);
constinit std::atomic<Dlopen> found{nullptr};

}  // namespace

extern "C" {

[[gnu::used, gnu::visibility("hidden")]] Dlopen hakmem_next_dlopen() {
    Dlopen next = found.load(std::memory_order_relaxed);
    if (next == nullptr) {
        next = reinterpret_cast<Dlopen>(dlsym(RTLD_NEXT, "dlopen"));
        found.store(next, std::memory_order_relaxed);
    }
    return next;
}

// The loader looks into the RUNPATH and the namespace of whoever called it, and knows that by the return address: so
// this jumps, whatever the compiler's settings.
static_assert(RTLD_DEEPBIND == 8);
[[gnu::naked, gnu::visibility("default")]] void *dlopen(const char *, int) {
    asm("endbr64\n\t"
        "pushq %rdi\n\t"
        "pushq %rsi\n\t"
        "subq $8, %rsp\n\t"
        "call hakmem_next_dlopen\n\t"
        "addq $8, %rsp\n\t"
        "popq %rsi\n\t"
        "popq %rdi\n\t"
        "andl $~8, %esi\n\t"
        "jmp *%rax");
}

}  // extern "C"
