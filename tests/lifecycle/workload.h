// What a program does with the heap, in short: small, large and aligned blocks, realloc, calloc, contents checked.
#pragma once

#include <pthread.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace lifecycle {

[[noreturn]] inline void fail(const char *what) {
    fprintf(stderr, "lifecycle: %s\n", what);
    abort();
}
inline void check(bool right, const char *what) {
    if (!right) fail(what);
}

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 2 + 1) {}
    std::uint64_t below(std::uint64_t limit) {
        state_ = state_ * 6364136223846793005 + 1442695040888963407;
        return (state_ >> 33) % limit;
    }

  private:
    std::uint64_t state_;
};

// A block starts with its size and ends with a byte that tells of it.
struct Block {
    unsigned char *memory = nullptr;
    std::size_t bytes = 0;

    void mark() {
        memcpy(memory, &bytes, sizeof bytes);
        memory[bytes - 1] = static_cast<unsigned char>(bytes * 7);
    }
    void look() const {
        std::size_t told;
        memcpy(&told, memory, sizeof told);
        check(told == bytes && memory[bytes - 1] == static_cast<unsigned char>(bytes * 7), "a block has changed");
    }
};

inline std::size_t some_size(Random &random) {
    const std::uint64_t kind = random.below(100);
    return 9 + (kind < 80 ? random.below(300) : kind < 95 ? random.below(9000) : random.below(200000));
}

// nullptr is a right answer only where memory is short.
template <std::size_t Slots = 200>
void work(std::uint64_t seed, unsigned steps, bool may_be_short = false) {
    Random random(seed);
    Block blocks[Slots];
    for (unsigned i = 0; i < steps; ++i) {
        Block &block = blocks[random.below(Slots)];
        const std::size_t bytes = some_size(random);
        void *memory = nullptr;
        if (block.memory == nullptr) {
            switch (random.below(3)) {
                case 0:
                    memory = malloc(bytes);
                    break;
                case 1:
                    memory = calloc(1, bytes);
                    break;
                default:
                    memory = aligned_alloc(std::size_t{16} << random.below(8), bytes);
                    break;
            }
        } else {
            block.look();
            if (random.below(2) == 0) {
                free(block.memory);
                block = {};
                continue;
            }
            memory = realloc(block.memory, bytes);
        }
        check(memory != nullptr || may_be_short, "no memory");
        if (memory == nullptr) continue;
        block = {static_cast<unsigned char *>(memory), bytes};
        block.mark();
    }
    for (Block &block : blocks) {
        if (block.memory == nullptr) continue;
        block.look();
        free(block.memory);
    }
}

}  // namespace lifecycle
