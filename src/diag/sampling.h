// Poisson sampling of allocated bytes: how many allocations to skip, and what a sampled one stands for. Each size class
// is a process of its own, as the sum of Poisson processes is one again; so a countdown of allocations is all that the
// fast path needs. Pure functions; no libm, as they run in somebody else's program.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hakmem::sampling {

// Natural logarithm of x > 0, to 1e-6.
constexpr double log(double x) {
    constexpr double kLn2 = 0.693147180559945309417;
    const auto bits = std::bit_cast<std::uint64_t>(x);
    const int exponent = static_cast<int>(bits >> 52 & 0x7FF) - 1023;
    const double mantissa = std::bit_cast<double>((bits & 0xFFFFFFFFFFFFF) | std::uint64_t{1023} << 52);
    const double t = (mantissa - 1) / (mantissa + 1);
    const double t2 = t * t;
    return exponent * kLn2 + 2 * t * (1 + t2 * (1.0 / 3 + t2 * (1.0 / 5 + t2 * (1.0 / 7 + t2 * (1.0 / 9 + t2 / 11)))));
}

// 1 - exp(-x) for x >= 0, to 1e-9: the chance that at least one of the bytes is a sampled one.
constexpr double hit_chance(double x) {
    if (x > 40) return 1;
    // exp(-x) - 1 of a small part of x by its series, then doubled up without loss of the small end.
    int doublings = 0;
    while (x > 1.0 / 64) {
        x /= 2;
        ++doublings;
    }
    double miss = -x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4)));
    for (; doublings > 0; --doublings) miss = miss * (2 + miss);
    return -miss;
}

// xorshift64*. To be seeded before use; all-zero, so that it may stand in a thread cache.
class Random {
  public:
    constexpr void seed(std::uint64_t value) { state_ = value != 0 ? value : 0x9E3779B97F4A7C15; }
    constexpr std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1D;
    }
    // In (0, 1].
    constexpr double unit() { return static_cast<double>((next() >> 11) + 1) * 0x1.0p-53; }

  private:
    std::uint64_t state_ = 0;
};

// For decisions that are nearly always no: cheap, and good in the upper bits.
class Draws {
  public:
    constexpr void seed(std::uint64_t value) { state_ = value; }
    constexpr std::uint64_t last() const { return state_; }
    // Knuth's MMIX generator.
    constexpr std::uint64_t next() { return state_ = state_ * 6364136223846793005 + 1442695040888963407; }

  private:
    std::uint64_t state_ = 0;
};

// Allocations of `bytes` each up to and with the next sampled one, at one sample in `mean` bytes. A mean of 1 samples
// every allocation.
constexpr std::uint64_t allocations_to_next(Random &random, std::size_t bytes, std::uint64_t mean) {
    if (mean <= 1) return 1;
    const double skip = -log(random.unit()) * static_cast<double>(mean) / static_cast<double>(bytes);
    return skip >= 1e18 ? std::uint64_t{1'000'000'000'000'000'000} : static_cast<std::uint64_t>(skip) + 1;
}

// Bytes up to the next sampled one.
constexpr std::uint64_t bytes_to_next(Random &random, std::uint64_t mean) {
    return mean <= 1 ? 1 : static_cast<std::uint64_t>(-log(random.unit()) * static_cast<double>(mean)) + 1;
}

// Weights are fixed-point numbers of allocations.
inline constexpr unsigned kWeightBits = 8;
inline constexpr std::uint32_t kWeightOne = 1u << kWeightBits;

// How many allocations of `bytes` a sampled one stands for.
constexpr std::uint32_t weight(std::size_t bytes, std::uint64_t mean) {
    if (mean <= 1) return kWeightOne;
    const double chance = hit_chance(static_cast<double>(bytes) / static_cast<double>(mean));
    const double weight = kWeightOne / chance;
    return weight >= 4294967295.0 ? 0xFFFFFFFF : static_cast<std::uint32_t>(weight);
}

}  // namespace hakmem::sampling
