// What operator new does when memory is short: the program's new handler, then std::bad_alloc. Our libraries don't link
// libstdc++, so both are looked up in the program when they are needed.
#pragma once

namespace hakmem {

// Calls the installed new handler; false if there is none.
bool call_new_handler();
// Throws std::bad_alloc by the program's C++ runtime; returns only where the program has none.
void throw_bad_alloc();

}  // namespace hakmem
