// Makes system calls of the library fail on purpose. Linked into test builds of the two libraries only, from the same
// objects, with the linker's --wrap: every call that the library itself makes comes here, the program's own don't.
//
// HAKMEM_FAULTS=CALL=N fails the N-th CALL of the process; CALL=N+ that one and all later ones. HAKMEM_FAULTS_COUNTED
// names a file that gets a line `CALL COUNT` for each at a clean exit.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "diag/process.h"

namespace {

enum Call : unsigned {
    kMmap,
    kMunmap,
    kMadvise,
    kMincore,
    kMremap,
    kMprotect,
    kFtruncate,
    kFallocate,
    kOpen,
    kOpenat,
    kMkdir,
    kFstat,
    kReadv,
    kKeyCreate,
    kCalls
};
constexpr const char *kNames[kCalls] = {
    "mmap",      "munmap", "madvise", "mincore", "mremap", "mprotect",         "ftruncate",
    "fallocate", "open",   "openat",  "mkdir",   "fstat",  "process_vm_readv", "pthread_key_create"};
constexpr int kErrors[kCalls] = {ENOMEM, ENOMEM, ENOMEM, EAGAIN, ENOMEM, ENOMEM, EIO,
                                 ENOSPC, EMFILE, EMFILE, ENOSPC, EIO,    EPERM,  EAGAIN};

constinit std::atomic<unsigned> counts[kCalls]{};
constinit std::atomic<int> chosen{-2};  // -2: not read yet, -1: none
constinit unsigned first = 0;
constinit bool for_good = false;

int read_choice() {
    const char *text = hakmem::process::variable(hakmem::process::environment(), "HAKMEM_FAULTS");
    int call = -1;
    for (unsigned i = 0; text != nullptr && i < kCalls; ++i) {
        const std::size_t length = std::strlen(kNames[i]);
        if (std::strncmp(text, kNames[i], length) != 0 || text[length] != '=') continue;
        call = static_cast<int>(i);
        for (text += length + 1; *text >= '0' && *text <= '9'; ++text)
            first = first * 10 + static_cast<unsigned>(*text - '0');
        for_good = *text == '+';
        break;
    }
    chosen = call;
    return call;
}

bool fails(Call call) {
    const unsigned nth = ++counts[call];
    int choice = chosen.load();
    if (choice == -2) choice = read_choice();
    if (choice != static_cast<int>(call) || nth < first || (nth > first && !for_good)) return false;
    errno = kErrors[call];
    return true;
}

__attribute__((destructor)) void tell_counts() {
    const char *path = std::getenv("HAKMEM_FAULTS_COUNTED");
    const int fd = path != nullptr ? open(path, O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
    if (fd < 0) return;
    for (unsigned i = 0; i < kCalls; ++i) dprintf(fd, "%s %u\n", kNames[i], counts[i].load());
    close(fd);
}

}  // namespace

// By the names that the objects call them by: files are large.
extern "C" {

void *__real_mmap64(void *, std::size_t, int, int, int, off_t);
void *__wrap_mmap64(void *start, std::size_t bytes, int protection, int flags, int fd, off_t offset) {
    return fails(kMmap) ? MAP_FAILED : __real_mmap64(start, bytes, protection, flags, fd, offset);
}
int __real_munmap(void *, std::size_t);
int __wrap_munmap(void *start, std::size_t bytes) { return fails(kMunmap) ? -1 : __real_munmap(start, bytes); }
int __real_madvise(void *, std::size_t, int);
int __wrap_madvise(void *start, std::size_t bytes, int advice) {
    return fails(kMadvise) ? -1 : __real_madvise(start, bytes, advice);
}
int __real_mincore(void *, std::size_t, unsigned char *);
int __wrap_mincore(void *start, std::size_t bytes, unsigned char *answer) {
    return fails(kMincore) ? -1 : __real_mincore(start, bytes, answer);
}
void *__wrap_mremap(void *from, std::size_t old_bytes, std::size_t bytes, int flags, ...) {
    std::va_list list;
    va_start(list, flags);
    void *to = va_arg(list, void *);
    va_end(list);
    return fails(kMremap) ? MAP_FAILED
                          : reinterpret_cast<void *>(syscall(SYS_mremap, from, old_bytes, bytes, flags, to));
}
int __real_mprotect(void *, std::size_t, int);
int __wrap_mprotect(void *start, std::size_t bytes, int protection) {
    return fails(kMprotect) ? -1 : __real_mprotect(start, bytes, protection);
}
int __real_ftruncate64(int, off_t);
int __wrap_ftruncate64(int fd, off_t bytes) { return fails(kFtruncate) ? -1 : __real_ftruncate64(fd, bytes); }
int __real_fallocate64(int, int, off_t, off_t);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t bytes) {
    return fails(kFallocate) ? -1 : __real_fallocate64(fd, mode, offset, bytes);
}
int __wrap_open64(const char *path, int flags, ...) {
    std::va_list list;
    va_start(list, flags);
    const int mode = va_arg(list, int);
    va_end(list);
    return fails(kOpen) ? -1 : static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}
int __wrap_openat64(int directory, const char *path, int flags, ...) {
    std::va_list list;
    va_start(list, flags);
    const int mode = va_arg(list, int);
    va_end(list);
    return fails(kOpenat) ? -1 : static_cast<int>(syscall(SYS_openat, directory, path, flags, mode));
}
int __real_mkdir(const char *, mode_t);
int __wrap_mkdir(const char *path, mode_t mode) { return fails(kMkdir) ? -1 : __real_mkdir(path, mode); }
int __real_fstat64(int, struct stat *);
int __wrap_fstat64(int fd, struct stat *status) { return fails(kFstat) ? -1 : __real_fstat64(fd, status); }
ssize_t __real_process_vm_readv(pid_t, const iovec *, unsigned long, const iovec *, unsigned long, unsigned long);
ssize_t __wrap_process_vm_readv(pid_t pid, const iovec *to, unsigned long to_count, const iovec *from,
                                unsigned long from_count, unsigned long flags) {
    return fails(kReadv) ? -1 : __real_process_vm_readv(pid, to, to_count, from, from_count, flags);
}
int __real_pthread_key_create(pthread_key_t *, void (*)(void *));
int __wrap_pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    return fails(kKeyCreate) ? EAGAIN : __real_pthread_key_create(key, destructor);
}

}  // extern "C"
