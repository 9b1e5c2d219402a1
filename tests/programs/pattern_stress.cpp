// Threads write a pattern over every block that they get and check it before they free or resize it, their own and each
// other's. pattern_stress SECONDS [THREADS [MAX_SIZE]]: prints what it did; 1 where a block was not as it was left.
#include <malloc.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

struct Block {
    unsigned char *memory = nullptr;
    std::size_t bytes = 0;
    unsigned char pattern = 0;
};

// What a thread has put down for any other to pick up.
std::array<std::atomic<Block *>, 256> shared;
std::atomic<std::uint64_t> operations{0}, broken{0};
std::atomic<bool> stop{false};

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15 + 1) {}
    std::uint64_t below(std::uint64_t bound) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return (state_ >> 11) % bound;
    }

  private:
    std::uint64_t state_;
};

void check(const Block &block, std::size_t bytes) {
    for (std::size_t i = 0; i < bytes; ++i) {
        if (block.memory[i] == static_cast<unsigned char>(block.pattern + i % 7)) continue;
        if (broken.fetch_add(1) == 0)
            std::fprintf(stderr, "block %p of %zu bytes: byte %zu is %02x\n", static_cast<void *>(block.memory),
                         block.bytes, i, block.memory[i]);
        return;
    }
}

void paint(const Block &block) {
    for (std::size_t i = 0; i < block.bytes; ++i) block.memory[i] = static_cast<unsigned char>(block.pattern + i % 7);
}

void *make(Random &random, std::size_t bytes) {
    switch (random.below(12)) {
        case 0:
            return std::calloc(1, bytes);
        case 1:
            return std::aligned_alloc(std::size_t{16} << random.below(9), bytes);
        case 2:
            return memalign(64, bytes);
        default:
            return std::malloc(bytes);
    }
}

void work(std::uint64_t seed, std::size_t max_size) {
    Random random(seed);
    std::vector<Block> own(400);
    std::uint64_t done = 0;
    for (; !stop.load(std::memory_order_relaxed); ++done) {
        Block &block = own[random.below(own.size())];
        const std::size_t bytes = 1 + (random.below(20) == 0 ? random.below(max_size) : random.below(600));
        if (block.memory != nullptr) check(block, block.bytes);
        switch (random.below(4)) {
            case 0:
                if (block.memory != nullptr) {
                    auto *moved = static_cast<unsigned char *>(std::realloc(block.memory, bytes));
                    if (moved == nullptr) continue;
                    block.memory = moved;
                    check(block, bytes < block.bytes ? bytes : block.bytes);
                    block.bytes = bytes;
                    paint(block);
                    break;
                }
                [[fallthrough]];
            case 1: {
                // Swap with whoever passes by.
                auto *mine = block.memory != nullptr ? new Block(block) : nullptr;
                Block *theirs = shared[random.below(shared.size())].exchange(mine);
                block = theirs != nullptr ? *theirs : Block{};
                delete theirs;
                break;
            }
            default:
                std::free(block.memory);
                block = {static_cast<unsigned char *>(make(random, bytes)), bytes,
                         static_cast<unsigned char>(random.below(256))};
                if (block.memory == nullptr)
                    block = {};
                else
                    paint(block);
        }
    }
    for (Block &block : own) {
        if (block.memory != nullptr) check(block, block.bytes);
        std::free(block.memory);
    }
    operations += done;
}

}  // namespace

int main(int argc, char **argv) {
    const double seconds = argc > 1 ? std::atof(argv[1]) : 1;
    const int threads = argc > 2 ? std::atoi(argv[2]) : 8;
    const long max_size = argc > 3 ? std::atol(argv[3]) : 100'000;
    if (seconds <= 0 || threads < 1 || max_size < 1) {
        std::fprintf(stderr, "usage: %s SECONDS [THREADS [MAX_SIZE]]\n", argv[0]);
        return 2;
    }
    std::printf("running\n");
    std::fflush(stdout);
    std::vector<std::thread> all;
    for (int i = 0; i < threads; ++i) all.emplace_back(work, i + 1, static_cast<std::size_t>(max_size));
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    while (std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    stop = true;
    for (std::thread &thread : all) thread.join();
    for (auto &slot : shared) {
        if (Block *block = slot.load()) {
            check(*block, block->bytes);
            std::free(block->memory);
            delete block;
        }
    }
    std::printf("%llu operations, %llu broken blocks\n", static_cast<unsigned long long>(operations.load()),
                static_cast<unsigned long long>(broken.load()));
    return broken.load() == 0 ? 0 : 1;
}
