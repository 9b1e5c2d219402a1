// A signal by which a command makes a process whose threads all sleep look at its control word; others look by
// themselves. SIGURG: ignored by default, so harmless wherever it arrives, and little used. It may end a sleeping
// system call with EINTR, so it is sent only where nothing else helps. A program with a handler of its own keeps it.
#pragma once

#include <cstdint>

namespace hakmem::nudge {

// `call` is made in the handler. Nothing happens where the program (or whoever
// started it) has done something about the signal already.
void install(void (*call)());

// 0 where the handler isn't installed.
std::uint32_t signal_number();

}  // namespace hakmem::nudge
