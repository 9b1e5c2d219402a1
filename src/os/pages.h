// Memory from the operating system, in pages: map, unmap, give back, move. With readable.h the only place that makes
// memory system calls for the allocator. Failures are return values; errno is left as the system call set it, callers
// on free paths restore it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem::os {

// The allocator's own page: the smallest page of the supported systems. The kernel's may be larger (aarch64).
inline constexpr std::size_t kPageBytes = 4096;

// The kernel's page size in bytes.
std::size_t system_page_bytes();

// Zeroed, readable and writable private memory, aligned to `alignment` (a power of two). nullptr if there is none.
void *map(std::size_t bytes, std::size_t alignment = kPageBytes);
void unmap(void *start, std::size_t bytes);

// Address space that nobody can touch, aligned likewise; parts of it are opened and closed by the two below.
void *reserve(std::size_t bytes, std::size_t alignment);
// Makes the pages readable and writable; false if the kernel refused.
bool allow(void *start, std::size_t bytes);
// Gives the pages' memory back and lets nobody touch them.
void forbid(void *start, std::size_t bytes);

// Gives the pages' memory back; they read as zero afterwards. False if the kernel refused: the contents stand.
bool discard(void *start, std::size_t bytes);

// Moves the pages of [from, from + bytes) over the mapped range at `to`; `from` stays mapped and reads as zero. False
// if nothing was done.
bool move_pages(void *from, void *to, std::size_t bytes);

// Advice that the range is worth huge pages, or that it is not.
void prefer_huge_pages(void *start, std::size_t bytes);
void prefer_small_pages(void *start, std::size_t bytes);

// Milliseconds of a coarse monotonic clock.
std::uint64_t coarse_milliseconds();
std::uint64_t monotonic_ns();

// 64 random bits of this process; not for cryptography.
std::uint64_t process_secret();

}  // namespace hakmem::os
