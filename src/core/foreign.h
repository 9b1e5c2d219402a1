// Blocks of the next allocator in line, glibc's: memory that code got from __libc_malloc directly, or that was handed
// out before the preload. Recognized by the chunk's own fields, read without risk of a fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem::foreign {

// Looks like a live chunk of glibc's malloc.
bool is_glibc_block(std::uintptr_t address);
// Only for such a block.
void free_glibc_block(std::uintptr_t address);
std::size_t glibc_usable_bytes(std::uintptr_t address);

}  // namespace hakmem::foreign
