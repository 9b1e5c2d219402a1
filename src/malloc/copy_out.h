// Hands a struct to a program that was built with an older or a newer hakmem.h than ours: what it has room for, and
// zero for what we do not know. Structs only ever grow at their end.
#pragma once

#include <cstddef>
#include <cstring>

namespace hakmem {

template <class T>
void copy_out(const T &from, T *to, std::size_t bytes) {
    std::memset(static_cast<void *>(to), 0, bytes);
    std::memcpy(static_cast<void *>(to), &from, bytes < sizeof from ? bytes : sizeof from);
}

}  // namespace hakmem
