#include "diag/sampling.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hakmem::sampling {
namespace {

TEST(Sampling, LogarithmAndChanceAgreeWithLibm) {
    for (const double x : {1e-300, 1e-9, 0.1, 0.5, 0.999, 1.0, 1.5, 2.0, 3.7, 1e6, 1e300})
        EXPECT_NEAR(log(x), std::log(x), 1e-6 + std::abs(std::log(x)) * 1e-9) << x;
    for (const double x : {0.0, 1e-9, 1e-5, 0.01, 0.1, 0.5, 1.0, 3.0, 10.0, 39.0, 50.0})
        EXPECT_NEAR(hit_chance(x), -std::expm1(-x), 1e-8) << x;
    EXPECT_NEAR(hit_chance(1e-6) / 1e-6, 1, 1e-5);  // also where it is small
}

// What the samples stand for is what was allocated, whatever the size and the mean.
TEST(Sampling, EstimatesAreUnbiased) {
    Random random;
    random.seed(7);
    for (const std::size_t bytes : {16u, 112u, 1040u, 8208u}) {
        for (const std::uint64_t mean : {std::uint64_t{1}, std::uint64_t{500}, std::uint64_t{20'000}}) {
            constexpr std::uint64_t kAllocations = 2'000'000;
            double estimate = 0, samples = 0;
            for (std::uint64_t done = allocations_to_next(random, bytes, mean); done <= kAllocations;
                 done += allocations_to_next(random, bytes, mean)) {
                estimate += static_cast<double>(weight(bytes, mean)) / kWeightOne;
                ++samples;
            }
            EXPECT_NEAR(estimate / kAllocations, 1, 5 / std::sqrt(samples) + 0.003) << bytes << " of " << mean;
        }
    }
}

// What is decided by their upper bits is decided as often as it should be, and each time anew.
TEST(Sampling, DrawsAreEvenInTheUpperBits) {
    Draws draws;
    draws.seed(42);
    for (const unsigned bits : {1u, 4u, 12u}) {
        const double expected = 4'000'000.0 / (1u << bits);
        unsigned zeros = 0, runs = 0;
        bool before = false;
        for (unsigned i = 0; i < 4'000'000; ++i) {
            const bool zero = draws.next() >> (64 - bits) == 0;
            zeros += zero;
            runs += zero && before;
            before = zero;
        }
        EXPECT_NEAR(zeros, expected, 5 * std::sqrt(expected)) << bits;
        EXPECT_NEAR(runs, expected / (1u << bits), 5 * std::sqrt(expected / (1u << bits)) + 1) << bits;
    }
}

TEST(Sampling, AMeanOfOneTakesEveryAllocation) {
    Random random;
    random.seed(0);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(allocations_to_next(random, 16, 1), 1u);
    EXPECT_EQ(weight(16, 1), kWeightOne);
    EXPECT_EQ(weight(1 << 30, 524288), kWeightOne);  // a block that is surely hit stands for itself
}

}  // namespace
}  // namespace hakmem::sampling
