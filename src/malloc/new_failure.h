// What operator new does when memory is short: the program's new handler, then std::bad_alloc. Our libraries don't link
// libstdc++, so both are looked up in the program when they are needed.
#pragma once

#include <cstddef>

#include "core/watch.h"

namespace hakmem {

// Calls the installed new handler; false if there is none. What the handler throws passes through.
bool call_new_handler();
// Throws std::bad_alloc by the program's C++ runtime; returns only where the program has none.
void throw_bad_alloc();
// For the forms that must not throw, while a handler may: the runtime's own form, which calls the one of ours that
// throws and catches. `alignment` 0: the default one. nullptr if it came to nothing.
void *new_without_throwing(std::size_t bytes, std::size_t alignment, Family family);

}  // namespace hakmem
