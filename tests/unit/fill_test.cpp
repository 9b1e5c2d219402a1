#include "diag/fill.h"

#include <gtest/gtest.h>

#include <vector>

namespace hakmem::fill {
namespace {

TEST(Fill, FindsTheFirstChangedByteAtEveryPlace) {
    for (const std::size_t size : {0u, 1u, 7u, 8u, 15u, 31u, 32u, 33u, 100u, 257u}) {
        for (std::size_t shift = 0; shift < 8; ++shift) {
            std::vector<std::uint8_t> memory(size + shift + 8, 0);
            const auto begin = reinterpret_cast<std::uintptr_t>(memory.data()) + shift;
            put(begin, begin + size, kSlack);
            EXPECT_EQ(first_changed(begin, begin + size, kSlack), begin + size);
            EXPECT_EQ(memory[shift + size], 0);  // nothing behind it
            for (std::size_t at = 0; at < size; ++at) {
                memory[shift + at] ^= 1;
                EXPECT_EQ(first_changed(begin, begin + size, kSlack), begin + at);
                memory[shift + at] ^= 1;
            }
        }
    }
}

}  // namespace
}  // namespace hakmem::fill
