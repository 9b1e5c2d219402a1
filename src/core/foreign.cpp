#include "core/foreign.h"

#include <unistd.h>

#include "base/bits.h"
#include "os/pages.h"
#include "os/readable.h"

extern "C" void __libc_free(void *) __attribute__((weak));

namespace hakmem::foreign {

namespace {

constexpr std::size_t kPreviousInUse = 1, kMmapped = 2, kOtherArena = 4, kFlags = 7;
constexpr std::size_t kSmallestChunk = 32;
// heap_info of arenas other than the first, at multiples of this (malloc/arena.c).
constexpr std::size_t kArenaHeapBytes = std::size_t{64} << 20;

bool in_break_area(std::uintptr_t address, std::size_t bytes) {
    const std::uintptr_t top = address_of(sbrk(0));
    // The area's start isn't told by a cheap call; it grows upwards from the executable, far below mappings.
    return address < top && bytes <= top - address && top - address < (std::uintptr_t{1} << 40);
}

}  // namespace

bool read_head(std::uintptr_t address, ChunkHead &head) {
    if (&__libc_free == nullptr || address % 16 != 0 || address < os::kPageBytes) return false;
    return os::safe_read(address - sizeof head, &head, sizeof head);
}

bool is_glibc_block(std::uintptr_t address) {
    ChunkHead head;
    return read_head(address, head) && is_glibc_block(address, head);
}

bool is_glibc_block(std::uintptr_t address, const ChunkHead &chunk) {
    const std::uintptr_t start = address - sizeof chunk;
    const std::size_t bytes = chunk.bytes_and_flags & ~kFlags;
    if (bytes < kSmallestChunk || bytes % 16 != 0 || bytes > (std::size_t{1} << 46)) return false;

    if ((chunk.bytes_and_flags & kMmapped) != 0) {
        const std::size_t page = os::system_page_bytes();
        return (chunk.bytes_and_flags & kOtherArena) == 0 && (start - chunk.previous_bytes) % page == 0 &&
               (chunk.previous_bytes + bytes) % page == 0 && bytes >= page;
    }
    ChunkHead next;
    if (!os::safe_read(start + bytes, &next, sizeof next) || (next.bytes_and_flags & kPreviousInUse) == 0) return false;
    const std::size_t next_bytes = next.bytes_and_flags & ~kFlags;
    if (next_bytes == 0 || next_bytes > (std::size_t{1} << 46)) return false;
    if ((chunk.bytes_and_flags & kOtherArena) == 0) return in_break_area(start, bytes);

    struct {
        std::uintptr_t arena, previous;
        std::size_t size, protected_size;
    } heap;
    const std::uintptr_t heap_start = start & ~(kArenaHeapBytes - 1);
    return os::safe_read(heap_start, &heap, sizeof heap) && heap.arena != 0 && heap.size <= kArenaHeapBytes &&
           start + bytes <= heap_start + heap.size;
}

void free_glibc_block(std::uintptr_t address) { __libc_free(pointer_to(address)); }

std::size_t glibc_usable_bytes(std::uintptr_t address) {
    ChunkHead chunk;
    if (!read_head(address, chunk)) return 0;
    const std::size_t bytes = chunk.bytes_and_flags & ~kFlags;
    return (chunk.bytes_and_flags & kMmapped) != 0 ? bytes - 16 : bytes - 8;
}

}  // namespace hakmem::foreign
