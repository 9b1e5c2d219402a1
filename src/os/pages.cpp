#include "os/pages.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cstring>

#include "base/bits.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

namespace hakmem::os {

std::size_t system_page_bytes() {
    const unsigned long bytes = getauxval(AT_PAGESZ);
    return bytes != 0 ? bytes : kPageBytes;
}

namespace {

void *map_with(int protection, std::size_t bytes, std::size_t alignment) {
    constexpr int kFlags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    bytes = align_up(bytes, kPageBytes);
    if (bytes == 0 || bytes + alignment < bytes) return nullptr;
    void *start = mmap(nullptr, bytes, protection, kFlags, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    if ((address_of(start) & (alignment - 1)) == 0) return start;

    // Once more with room to align in, and give the ends back.
    munmap(start, bytes);
    const std::size_t room = bytes + alignment;
    start = mmap(nullptr, room, protection, kFlags, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    const std::uintptr_t begin = address_of(start);
    const std::uintptr_t aligned = align_up(begin, alignment);
    if (aligned != begin) munmap(start, aligned - begin);
    if (aligned + bytes != begin + room) munmap(pointer_to(aligned + bytes), begin + room - aligned - bytes);
    return pointer_to(aligned);
}

}  // namespace

void *map(std::size_t bytes, std::size_t alignment) { return map_with(PROT_READ | PROT_WRITE, bytes, alignment); }

void *reserve(std::size_t bytes, std::size_t alignment) { return map_with(PROT_NONE, bytes, alignment); }

bool allow(void *start, std::size_t bytes) { return mprotect(start, bytes, PROT_READ | PROT_WRITE) == 0; }

void forbid(void *start, std::size_t bytes) {
    madvise(start, bytes, MADV_DONTNEED);
    mprotect(start, bytes, PROT_NONE);
}

void unmap(void *start, std::size_t bytes) { munmap(start, bytes); }

bool discard(void *start, std::size_t bytes) { return madvise(start, bytes, MADV_DONTNEED) == 0; }

bool move_pages(void *from, void *to, std::size_t bytes) {
    return mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to) != MAP_FAILED;
}

void prefer_huge_pages(void *start, std::size_t bytes) { madvise(start, bytes, MADV_HUGEPAGE); }

void prefer_small_pages(void *start, std::size_t bytes) { madvise(start, bytes, MADV_NOHUGEPAGE); }

std::uint64_t coarse_milliseconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1000 + static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
}

std::uint64_t monotonic_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t process_secret() {
    std::uint64_t secret = 0x9E3779B97F4A7C15;
    if (const unsigned long random = getauxval(AT_RANDOM)) {
        // glibc makes its own canaries of these 16 bytes; mix both halves so that neither shows.
        std::uint64_t words[2];
        std::memcpy(words, pointer_to(random), sizeof words);
        secret ^= (words[0] * 0xBF58476D1CE4E5B9) ^ (words[1] << 17 | words[1] >> 47);
    }
    return secret;
}

}  // namespace hakmem::os
