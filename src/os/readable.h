// May this address be read? The last resort of the hybrid mincore check, and reads that can't fault.
#pragma once

#include <cstddef>
#include <cstdint>

#include "segment/layout.h"

namespace hakmem::os {

// mincore on the page of `address`. It says mapped, not readable: a PROT_NONE page is `mapped` too.
segment::MincoreResult page_mapped(std::uintptr_t address);

// Copies `bytes` from `address` of this process; false if any of them can't be read. Never faults.
bool safe_read(std::uintptr_t address, void *to, std::size_t bytes);
// The other way round.
bool safe_write(std::uintptr_t address, const void *from, std::size_t bytes);

}  // namespace hakmem::os
