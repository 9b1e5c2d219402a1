// What a slot is, as far as its span and its header tell: for reports and audits, so racy and good enough.
#pragma once

#include <cstdint>

#include "core/fault.h"
#include "core/header_byte.h"
#include "core/heap.h"
#include "core/span.h"
#include "os/readable.h"

namespace hakmem {

inline SlotState slot_state(const Span &span, std::uint32_t index) {
    if (index >= span.carved) return SlotState::never_used;
    if (span.marked_free(index)) return SlotState::free_slot;
    const std::uint8_t header = header_byte::load(pointer_to(span.slot(index)));
    if (header == header_byte::free(span.size_class)) return SlotState::free_slot;
    return SlotState::in_use;
}

// A block in some thread's cache is free although its span's bits call it out. What lies beyond the top of a stack is
// of no account: blocks that were handed out. The tops are the threads' own, and a thread may end and take its memory
// along.
inline bool in_a_cache(std::uintptr_t block, std::size_t size_class) {
    bool found = false;
    heaps.for_each([&](Heap &heap) {
        void **const *tops = heap.tops.load(std::memory_order_acquire);
        void **top = nullptr;
        if (found || tops == nullptr || !os::safe_read(address_of(tops + size_class), &top, sizeof top)) return;
        BlockStack &stack = heap.stacks[size_class];
        if (top < stack.blocks) return;  // no longer what it was
        for (; top < stack.end() && !found; ++top) found = __atomic_load_n(top, __ATOMIC_RELAXED) == pointer_to(block);
    });
    return found;
}

}  // namespace hakmem
