// What a slot is, as far as its span and its header tell: for reports and audits, so racy and good enough.
#pragma once

#include <cstdint>

#include "core/fault.h"
#include "core/header_byte.h"
#include "core/heap.h"
#include "core/span.h"

namespace hakmem {

inline SlotState slot_state(const Span &span, std::uint32_t index) {
    if (index >= span.carved) return SlotState::never_used;
    if (span.marked_free(index)) return SlotState::free_slot;
    const std::uint8_t header = header_byte::load(pointer_to(span.slot(index)));
    if (header == header_byte::free(span.size_class)) return SlotState::free_slot;
    return SlotState::in_use;
}

// A block in some thread's cache is free although its span's bits call it out.
inline bool in_a_cache(std::uintptr_t block, std::size_t size_class) {
    bool found = false;
    heaps.for_each([&](Heap &heap) {
        if (found || &heap == &Heaps::central) return;
        void *const *end = heap.stacks[size_class].end();
        for (unsigned i = 1; i <= heap.capacity[size_class] && !found; ++i)
            found = __atomic_load_n(end - i, __ATOMIC_RELAXED) == pointer_to(block);
    });
    return found;
}

}  // namespace hakmem
