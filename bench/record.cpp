// libhakmem-record.so: preloaded, it writes a trace of the program's allocations to $HAKMEM_RECORD.PID and passes them
// on to glibc. Stops after kMostEvents; forked children are not recorded until they exec.
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "trace.h"

extern "C" {
void *__libc_malloc(std::size_t);
void *__libc_calloc(std::size_t, std::size_t);
void *__libc_realloc(void *, std::size_t);
void *__libc_memalign(std::size_t, std::size_t);
void __libc_free(void *);
}

namespace {

using bench::Event;
using bench::Op;

std::atomic<Event *> events{nullptr};
std::atomic<std::uint64_t> used{0};

__attribute__((constructor)) void open_trace() {
    const char *prefix = std::getenv("HAKMEM_RECORD");
    if (prefix == nullptr) return;
    char path[4096];
    std::snprintf(path, sizeof path, "%s.%d", prefix, static_cast<int>(getpid()));
    const int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return;
    constexpr std::size_t kBytes = bench::kMostEvents * sizeof(Event);
    void *memory = MAP_FAILED;
    if (ftruncate(file, kBytes) == 0) memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory != MAP_FAILED) events = static_cast<Event *>(memory);
    pthread_atfork(nullptr, nullptr, [] { events = nullptr; });
}

void note(Op op, const void *block, std::size_t bytes = 0, const void *before = nullptr, std::size_t alignment = 0) {
    Event *to = events.load(std::memory_order_relaxed);
    if (to == nullptr) return;
    const std::uint64_t index = used.fetch_add(1, std::memory_order_relaxed);
    if (index >= bench::kMostEvents) return;
    to[index] = {op, static_cast<std::uint32_t>(alignment), bytes, reinterpret_cast<std::uint64_t>(block),
                 reinterpret_cast<std::uint64_t>(before)};
}

}  // namespace

#define RECORD_PUBLIC extern "C" __attribute__((visibility("default")))

RECORD_PUBLIC void *malloc(std::size_t bytes) {
    void *block = __libc_malloc(bytes);
    note(Op::allocate, block, bytes);
    return block;
}
RECORD_PUBLIC void *calloc(std::size_t count, std::size_t size) {
    void *block = __libc_calloc(count, size);
    note(Op::allocate_zeroed, block, count * size);
    return block;
}
RECORD_PUBLIC void *realloc(void *before, std::size_t bytes) {
    void *block = __libc_realloc(before, bytes);
    if (before != nullptr && bytes == 0)
        note(Op::release, before);
    else
        note(Op::resize, block, bytes, before);
    return block;
}
RECORD_PUBLIC void *memalign(std::size_t alignment, std::size_t bytes) {
    void *block = __libc_memalign(alignment, bytes);
    note(Op::allocate_aligned, block, bytes, nullptr, alignment);
    return block;
}
RECORD_PUBLIC void *aligned_alloc(std::size_t alignment, std::size_t bytes) { return memalign(alignment, bytes); }
RECORD_PUBLIC int posix_memalign(void **result, std::size_t alignment, std::size_t bytes) {
    void *block = memalign(alignment, bytes);
    if (block == nullptr) return ENOMEM;
    *result = block;
    return 0;
}
// A program that brings another allocator may ask that one, which knows nothing of glibc's blocks: the size is in the
// word before the block, its low bits are flags, the second one of a mapping.
RECORD_PUBLIC std::size_t malloc_usable_size(void *block) {
    if (block == nullptr) return 0;
    const std::size_t size = static_cast<std::size_t *>(block)[-1];
    return (size & ~std::size_t{7}) - ((size & 2) != 0 ? 16 : 8);
}
RECORD_PUBLIC void free(void *block) {
    // Before it is anybody else's.
    if (block != nullptr) note(Op::release, block);
    __libc_free(block);
}
