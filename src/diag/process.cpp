#include "diag/process.h"

#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "diag/read_only_file.h"

extern "C" {
extern char **environ;
// The dynamic loader's.
extern void *__libc_stack_end __attribute__((weak));
}

namespace hakmem::process {

std::uintptr_t main_stack_end() {
    return &__libc_stack_end != nullptr ? reinterpret_cast<std::uintptr_t>(__libc_stack_end) : 0;
}

char **environment() {
    if (environ != nullptr) return environ;
    if (main_stack_end() == 0) return nullptr;
    auto *words = reinterpret_cast<std::uintptr_t *>(main_stack_end());
    const std::uintptr_t arguments = words[0];
    constexpr std::uintptr_t kMostArguments = 1 << 22;
    if (arguments > kMostArguments || words[1 + arguments] != 0) return nullptr;
    return reinterpret_cast<char **>(words + arguments + 2);
}

const char *variable(char *const *environment, const char *name) {
    if (environment == nullptr) return nullptr;
    const std::size_t length = std::strlen(name);
    for (; *environment != nullptr; ++environment) {
        if (std::strncmp(*environment, name, length) == 0 && (*environment)[length] == '=') {
            return *environment + length + 1;
        }
    }
    return nullptr;
}

bool watches_children(char *const *environment) {
    const char *children = variable(environment, "HAKMEM_CHILDREN");
    return children == nullptr || std::strcmp(children, "none") != 0;
}

bool is_secure() { return getauxval(AT_SECURE) != 0; }

std::uint64_t start_ticks_of_stat(const char *stat, std::size_t length) {
    // The second field is the name in parentheses, which may hold anything; fields are counted from its end.
    std::size_t at = length;
    while (at > 0 && stat[at - 1] != ')') --at;
    if (at == 0) return 0;
    constexpr unsigned kFieldsFromName = 20;
    for (unsigned field = 0; at < length; ++at) {
        if (stat[at] == ' ' && ++field == kFieldsFromName) break;
    }
    std::uint64_t ticks = 0;
    for (++at; at < length && stat[at] >= '0' && stat[at] <= '9'; ++at) {
        ticks = ticks * 10 + static_cast<std::uint64_t>(stat[at] - '0');
    }
    return ticks;
}

std::uint64_t start_ticks() {
    char text[1024];
    const ssize_t length = ReadOnlyFile("/proc/self/stat").read(text, sizeof text);
    return length > 0 ? start_ticks_of_stat(text, static_cast<std::size_t>(length)) : 0;
}

std::uint64_t pid_namespace() {
    struct stat info {};
    return stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
}

void executable(char *buffer, std::size_t capacity) {
    const ssize_t length = readlink("/proc/self/exe", buffer, capacity - 1);
    buffer[length > 0 ? length : 0] = '\0';
    if (length > 0) return;
    // Without /proc: as it was called.
    if (const char *called = called_as()) {
        const std::size_t used = strnlen(called, capacity - 1);
        std::memcpy(buffer, called, used);
        buffer[used] = '\0';
    }
}

const char *base_name(const char *path) {
    const char *slash = std::strrchr(path, '/');
    return slash != nullptr ? slash + 1 : path;
}

const char *name(const char *called, const char *executable) {
    const char *of_file = base_name(executable);
    if (called == nullptr) return of_file;
    // Links whose own names say nothing: an exec of oneself, a program that was run by its descriptor.
    constexpr const char *kLinkFolders[] = {"/proc/", "/dev/fd/"};
    for (const char *folder : kLinkFolders)
        if (std::strncmp(called, folder, std::strlen(folder)) == 0) return of_file;
    const char *of_call = base_name(called);
    struct stat by_call {
    }, by_kernel{};
    const bool same = *of_call != '\0' && stat(called, &by_call) == 0 && stat("/proc/self/exe", &by_kernel) == 0 &&
                      by_call.st_dev == by_kernel.st_dev && by_call.st_ino == by_kernel.st_ino;
    return same ? of_call : of_file;
}

const char *called_as() { return reinterpret_cast<const char *>(getauxval(AT_EXECFN)); }

std::uint64_t realtime_ns() {
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

pid_t thread_id() { return static_cast<pid_t>(syscall(SYS_gettid)); }

void remove_from_preload(char **environment, const char *library) {
    constexpr char kName[] = "LD_PRELOAD=";
    constexpr char kSeparators[] = ": ";
    for (; environment != nullptr && *environment != nullptr; ++environment) {
        if (std::strncmp(*environment, kName, sizeof kName - 1) != 0) continue;
        char *out = *environment + sizeof kName - 1;
        const char *in = out;
        bool first = true;
        while (*in != '\0') {
            const std::size_t length = std::strcspn(in, kSeparators);
            const char *name = in + length;
            while (name > in && name[-1] != '/') --name;
            const std::size_t name_length = static_cast<std::size_t>(in + length - name);
            const bool ours = std::strlen(library) == name_length && std::memcmp(name, library, name_length) == 0;
            if (length != 0 && !ours) {
                if (!first) *out++ = ':';
                std::memmove(out, in, length);
                out += length;
                first = false;
            }
            in += length;
            if (*in != '\0') ++in;
        }
        *out = '\0';
    }
}

}  // namespace hakmem::process
