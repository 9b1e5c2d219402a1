// The front end: what a thread reaches with one TLS base. All-zero bytes are a valid, empty cache, so the first call of
// a thread, however early, finds its stacks empty and full at once and takes the slow path, which sets it up.
#pragma once

#include <cstdint>

#include "core/heap.h"

namespace hakmem {

template <class P>
struct ThreadCache {
    // Stack of free blocks a class: top[c] points at the next block to hand out; its low bits are zero when the stack
    // is empty. A push is allowed while top[c] > floor[c]; a floor of all ones sends every free to the slow path. The
    // stack itself ends at lowest[c].
    void **top[size_classes::kCount];
    void **floor[size_classes::kCount];
    void **lowest[size_classes::kCount];
    Heap *heap;
    // The thread has ended as far as we know; it may still allocate from other libraries' destructors.
    bool ended;
    // floor[] is all ones, and frees are verified.
    bool verifying;
    [[no_unique_address]] typename P::ThreadState probe;

    static bool empty(void **top) { return (reinterpret_cast<std::uintptr_t>(top) & (kStackBytes - 1)) == 0; }
};

}  // namespace hakmem
