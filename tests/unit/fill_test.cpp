#include "diag/fill.h"

#include <gtest/gtest.h>

#include <vector>

namespace hakmem::fill {
namespace {

TEST(Fill, FindsTheFirstChangedByteAtEveryPlace) {
    for (const std::size_t size :
         {0u, 1u, 7u, 8u, 15u, 16u, 17u, 31u, 32u, 33u, 48u, 63u, 64u, 65u, 100u, 255u, 256u, 257u, 320u}) {
        for (std::size_t shift = 0; shift < 8; ++shift) {
            std::vector<std::uint8_t> memory(size + shift + 8, 0);
            const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()) + shift;
            put<kSlack>(begin, begin + size);
            EXPECT_EQ(first_changed(begin, begin + size, kSlack), begin + size);
            EXPECT_EQ(memory[shift + size], 0);  // nothing behind it
            const bool wide = size >= sizeof(Wide);
            EXPECT_TRUE(!wide || is_whole<kSlack>(begin, begin + size));
            for (std::size_t at = 0; at < size; ++at) {
                memory[shift + at] ^= 1;
                EXPECT_EQ(first_changed(begin, begin + size, kSlack), begin + at);
                EXPECT_FALSE(wide && is_whole<kSlack>(begin, begin + size));
                memory[shift + at] ^= 1;
            }
        }
    }
}

// All of it, and nothing beside it.
TEST(Fill, PutsManyBytesAtEveryPlace) {
    for (const std::size_t size : {kLong, kLong + 1, 4 * kLong, 4 * kLong + 63, 2 * kEnds}) {
        for (std::size_t shift = 0; shift < 64; ++shift) {
            std::vector<std::uint8_t> memory(shift + size + 1, 0);
            const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()) + shift;
            put_freed(begin, begin + size);
            EXPECT_EQ(first_changed(begin, begin + size, kFreed), begin + size);
            EXPECT_EQ(memory[shift + size], 0);
            EXPECT_TRUE(shift == 0 || memory[shift - 1] == 0);
        }
    }
}

// Of what is long, both ends whole and something on every page in between.
TEST(Fill, OfLongFreedMemoryBothEndsAndEveryPage) {
    for (const std::size_t size : {std::size_t{100}, 2 * kEnds, 2 * kEnds + 1, std::size_t{1} << 20}) {
        std::vector<std::uint8_t> memory(size + 1, 0);
        const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()), end = begin + size;
        put_freed(begin, end);
        EXPECT_EQ(memory[size], 0);
        EXPECT_EQ(first_changed_freed(begin, end), end);
        for (const std::size_t at :
             {std::size_t{0}, std::min(size, kEnds) - 1, size - std::min(size, kEnds), size - 1}) {
            memory[at] ^= 1;
            EXPECT_EQ(first_changed_freed(begin, end), begin + at);
            memory[at] ^= 1;
        }
        for (std::size_t at = 0; at + os::kPageBytes + kLine <= size; at += 12345) {
            std::vector<std::uint8_t> before(memory.begin() + static_cast<std::ptrdiff_t>(at),
                                             memory.begin() + static_cast<std::ptrdiff_t>(at + os::kPageBytes + kLine));
            std::memset(memory.data() + at, 0, before.size());
            EXPECT_NE(first_changed_freed(begin, end), end);
            std::memcpy(memory.data() + at, before.data(), before.size());
        }
    }
}

}  // namespace
}  // namespace hakmem::fill
