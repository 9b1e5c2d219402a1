// A watchpoint's SIGTRAP, on its way to the hunt. Every other SIGTRAP goes to whoever was there before us.
#pragma once

#include <cstdint>

namespace hakmem {

// Told about a write to a watched byte, where the thread was interrupted, and the address behind the instruction that
// wrote.
using WatchpointHit = void (*)(std::uintptr_t address, std::uintptr_t pc, std::uintptr_t behind);

void set_watchpoint_hit(WatchpointHit hit);

// Installed for the first hunt only: until then the program's SIGTRAP is nobody's business. errno is kept.
void install_trap_handler();

// A thread that blocks the signal would get it too late to name the instruction.
void let_traps_through();

}  // namespace hakmem
