// A recorded trace of a program's allocations: a file of these events in the order in which they happened, of all
// threads.
#pragma once

#include <cstdint>

namespace bench {

enum class Op : std::uint32_t { none, allocate, allocate_zeroed, allocate_aligned, resize, release };

struct Event {
    Op op;
    std::uint32_t alignment;  // of allocate_aligned
    std::uint64_t bytes;
    std::uint64_t block;   // what came out, or what was released
    std::uint64_t before;  // resize: what went in
};
static_assert(sizeof(Event) == 32);

inline constexpr std::uint64_t kMostEvents = 2'000'000;

}  // namespace bench
