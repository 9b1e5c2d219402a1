// Pages of loaded files that only the unwinder needed: its own, and the tables that it reads of the objects that a
// stack passes. They can be had from the file again at any time; until then they are not in the process's memory.
//
// Only what was there when the process started, and was the file's own then: what somebody has written to, or put into
// memory of its own (packed programs), would be lost. As soon as any object has been unloaded nothing is let go any
// more: another mapping may be there.
#pragma once

#include <cstdint>
#include <span>

namespace hakmem::file_pages {

// Learns what may be let go, and lets the unwinder's own go: all objects from `unwinder` (the loader's l_addr) on, by
// the order in which they were loaded, or none if that is 0. Takes the loader's lock.
void start(std::uintptr_t unwinder);

// A backtrace has been taken that passed these addresses. Takes the loader's lock.
void let_go(std::span<const std::uintptr_t> addresses);

}  // namespace hakmem::file_pages
