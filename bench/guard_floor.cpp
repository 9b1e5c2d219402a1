// What `guard` can't do without, and nothing else: freed bytes are poisoned, wait until so many others have been freed,
// and are checked. Beside a malloc and free of a block of that size, among a thousand others. Run it with the
// production library preloaded: the ratio is what `guard` would cost over that if it did no more.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "common.h"
#include "diag/fill.h"

namespace {

namespace fill = hakmem::fill;

constexpr std::size_t kLive = 1000;

double pair_ns(std::size_t bytes, long rounds) {
    bench::Random random(1);
    std::vector<void *> live(kLive);
    for (void *&block : live) block = bench::fresh(bytes);
    const double start = bench::seconds();
    for (long i = 0; i < rounds; ++i) {
        void *&block = live[random.below(kLive)];
        std::free(block);
        block = bench::fresh(bytes);
    }
    const double seconds = bench::seconds() - start;
    for (void *block : live) std::free(block);
    return seconds / static_cast<double>(rounds) * 1e9;
}

// The same blocks come again as soon as `kept` bytes are behind them.
double poison_ns(std::size_t bytes, std::size_t kept, long rounds) {
    std::vector<unsigned char> memory(kept / bytes * bytes);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()), end = begin + memory.size();
    fill::put<fill::kFreed>(begin, end);
    std::uintptr_t at = begin;
    bool whole = true;
    const double start = bench::seconds();
    for (long i = 0; i < rounds; ++i) {
        whole = whole && fill::is_whole<fill::kFreed>(at, at + bytes);
        // The program's: as little as the pair's does.
        *reinterpret_cast<unsigned char *>(at) = static_cast<unsigned char>(i);
        fill::put<fill::kFreed>(at, at + bytes);
        at += bytes;
        if (at == end) at = begin;
    }
    const double seconds = bench::seconds() - start;
    if (!whole) std::printf("the memory is broken\n");
    return seconds / static_cast<double>(rounds) * 1e9;
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Time of poison and a check alone, beside malloc and free.",
                               "[KEPT_KIB [ROUNDS]]");
    const auto kept = static_cast<std::size_t>(arguments.number(16 << 10, 64, 1L << 20)) << 10;
    const long rounds = arguments.number(2'000'000, 1, 1L << 40);
    arguments.done();
    constexpr int kTries = 5;  // in turns, and the least counts
    for (const std::size_t bytes : {16u, 64u, 256u, 1024u, 4096u}) {
        double pair = 1e9, poison = 1e9;
        for (int i = 0; i < kTries; ++i) {
            pair = std::min(pair, pair_ns(bytes, rounds));
            poison = std::min(poison, poison_ns(bytes, kept, rounds));
        }
        std::printf("%4zu bytes: malloc and free %5.1f ns, poison and its check %6.1f ns: %5.2f with both\n", bytes,
                    pair, poison, (pair + poison) / pair);
    }
}
