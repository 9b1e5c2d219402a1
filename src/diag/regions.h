// Where a pointer that belongs to no allocator points to: the pure decision, and the facts it needs.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>

#include "diag/modules.h"
#include "segment/layout.h"

namespace hakmem {

struct RegionFacts {
    bool mapped = false;
    bool in_stack = false;   // of any thread, or what this thread runs on now
    bool in_module = false;  // a loaded object's segments
};

constexpr segment::AddressRegion decide_region(const RegionFacts &facts) {
    if (!facts.mapped) return segment::AddressRegion::unmapped;
    if (facts.in_stack) return segment::AddressRegion::stack;
    if (facts.in_module) return segment::AddressRegion::static_data;
    return segment::AddressRegion::mapping;
}

// One line of /proc/self/maps.
struct Mapping {
    std::uintptr_t begin = 0;
    std::uintptr_t end = 0;

    constexpr bool contains(std::uintptr_t address) const { return address >= begin && address < end; }
};

// The mapping that `address` lies in; an empty one if there is none or /proc can't say.
Mapping find_mapping(std::uintptr_t address);

// What can be known about a stack: an address in it, and where it ends at the latest.
struct StackAnchor {
    std::uintptr_t inside = 0;
    std::uintptr_t limit = 0;
};

constexpr bool is_in_stack(std::uintptr_t address, const Mapping &mapping, const StackAnchor &stack) {
    return mapping.contains(address) && mapping.contains(stack.inside) && address < stack.limit;
}

// An address at the upper end of the calling thread's stack, to be kept with the thread: another one may free an
// address in it. 0 for the main thread, whose stack is found without.
std::uintptr_t this_threads_descriptor();

// The facts about `address`, known to be mapped or not. `descriptors` are those of threads, 0 for none.
RegionFacts gather_region(std::uintptr_t address, bool mapped, const ModuleMap &modules,
                          std::span<const std::atomic<std::uintptr_t>> descriptors);

}  // namespace hakmem
