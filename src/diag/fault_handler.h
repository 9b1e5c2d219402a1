// The free of an address that can't be read must become a report, not a crash. The fast path reads the header byte
// without asking first (core/header_byte.h: guarded_load); where that one instruction faults, our SIGSEGV handler gives
// it an invalid header and goes on behind it. A fault at a guard page is an incident. Every other fault goes to whoever
// was there before us.
#pragma once

#include <cstdint>

namespace hakmem {

// Told about an access that faulted, and whether it was a write: true if it was at a guard page of ours and may now be
// done again.
using GuardPageHit = bool (*)(std::uintptr_t address, std::uintptr_t pc, bool write);

// Installs the handler; errno is kept. Where the program later installs its own without chaining, the free of an
// unreadable address is a SIGSEGV again, as with any other allocator.
void install_fault_handler(GuardPageHit hit);

}  // namespace hakmem
