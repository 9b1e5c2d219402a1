// Small arithmetic that the allocator needs everywhere: rounding to powers of two. No state, no system calls.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem {

constexpr std::uintptr_t align_up(std::uintptr_t value, std::size_t alignment) {
    return (value + alignment - 1) & ~(std::uintptr_t{alignment} - 1);
}

constexpr bool is_power_of_two(std::size_t value) { return value != 0 && (value & (value - 1)) == 0; }

inline std::uintptr_t address_of(const void *p) { return reinterpret_cast<std::uintptr_t>(p); }

template <class T = void>
T *pointer_to(std::uintptr_t address) {
    return reinterpret_cast<T *>(address);
}

}  // namespace hakmem
