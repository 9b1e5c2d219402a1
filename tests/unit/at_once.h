// Two threads that do something at the very same time, round after round.
#pragma once

#include <atomic>
#include <thread>

namespace hakmem {

// Awake, so that both go on together; but not for ever, as there may be fewer processors than threads.
inline void wait_for(const std::atomic<unsigned> &round, unsigned least) {
    constexpr unsigned kAwake = 2000;
    for (unsigned looks = 0; round.load() < least; ++looks)
        if (looks > kAwake) std::this_thread::yield();
}

// A moment more or less: which of them comes first, and by how much, changes from round to round.
inline void skew(unsigned steps) {
    for (; steps != 0; --steps) asm volatile("" : : : "memory");
}

}  // namespace hakmem
