#include "diag/unwinder_files.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>
#include <cstring>

#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {
namespace {

constexpr int kNoFile = -1;

// What libunwind gets in place of libc's functions. Files that are none of this go through.

int make_no_pipe(int *ends, int) {
    ends[0] = ends[1] = kNoFile;
    return 0;
}

ssize_t read_nothing(int file, void *to, std::size_t bytes) {
    if (file != kNoFile) return read(file, to, bytes);
    errno = EAGAIN;  // the pipe is there, and empty
    return -1;
}

long answer_write(long number, ...) {
    long arguments[6];
    std::va_list list;
    va_start(list, number);
    for (long &argument : arguments) argument = va_arg(list, long);
    va_end(list);
    if (number == SYS_write && static_cast<int>(arguments[0]) == kNoFile) {
        char byte;
        const bool readable = os::safe_read(static_cast<std::uintptr_t>(arguments[1]), &byte, 1);
        errno = readable ? 0 : EFAULT;
        return readable ? 1 : -1;
    }
    return syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

struct Replacement {
    const char *name;
    void *function;
};

void replace(std::uintptr_t slot, void *function) {
    const std::size_t page = os::system_page_bytes();
    // It may be read-only by now.
    if (os::allow(reinterpret_cast<void *>(slot & ~(page - 1)), page))
        __atomic_store_n(reinterpret_cast<void **>(slot), function, __ATOMIC_RELEASE);
}

}  // namespace

void keep_off_files(void *library) {
    const Replacement replacements[] = {{"pipe2", reinterpret_cast<void *>(make_no_pipe)},
                                        {"read", reinterpret_cast<void *>(read_nothing)},
                                        {"syscall", reinterpret_cast<void *>(answer_write)}};
    link_map *map = nullptr;
    if (dlinfo(library, RTLD_DI_LINKMAP, &map) != 0 || map == nullptr) return;
    const ElfW(Sym) *symbols = nullptr;
    const char *names = nullptr;
    const ElfW(Rela) *calls = nullptr;
    std::size_t bytes = 0;
    for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; ++entry) {
        const auto address = reinterpret_cast<const void *>(entry->d_un.d_ptr);
        if (entry->d_tag == DT_SYMTAB) symbols = static_cast<const ElfW(Sym) *>(address);
        if (entry->d_tag == DT_STRTAB) names = static_cast<const char *>(address);
        if (entry->d_tag == DT_JMPREL) calls = static_cast<const ElfW(Rela) *>(address);
        if (entry->d_tag == DT_PLTRELSZ) bytes = entry->d_un.d_val;
    }
    if (symbols == nullptr || names == nullptr || calls == nullptr) return;
    for (std::size_t i = 0; i < bytes / sizeof *calls; ++i) {
        const char *name = names + symbols[ELF64_R_SYM(calls[i].r_info)].st_name;
        for (const Replacement &replacement : replacements) {
            if (std::strcmp(name, replacement.name) == 0)
                replace(map->l_addr + calls[i].r_offset, replacement.function);
        }
    }
}

}  // namespace hakmem
