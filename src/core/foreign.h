// Blocks of the next allocator in line, glibc's: memory that code got from __libc_malloc directly, or that was handed
// out before the preload. Recognized by the chunk's own fields, read without risk of a fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem::foreign {

// glibc's chunk (malloc/malloc.c): two words before the user's memory, flags in the low bits of the size.
struct ChunkHead {
    std::size_t previous_bytes;
    std::size_t bytes_and_flags;
};
// False where none can be, or it can't be read.
bool read_head(std::uintptr_t address, ChunkHead &head);

// Looks like a live chunk of glibc's malloc.
bool is_glibc_block(std::uintptr_t address);
// The same, of which this was read.
bool is_glibc_block(std::uintptr_t address, const ChunkHead &head);
// Only for such a block.
void free_glibc_block(std::uintptr_t address);
std::size_t glibc_usable_bytes(std::uintptr_t address);

}  // namespace hakmem::foreign
