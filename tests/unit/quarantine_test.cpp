#include "diag/quarantine.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

TEST(Quarantine, OldestFirstAndCounted) {
    Quarantine one, other;
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(one.pop(), 0u);
    const std::uint64_t before = Quarantine::total_bytes();
    ASSERT_TRUE(one.push(0x1000, 100) && one.push(0x2000, 50) && other.push(0x3000, 7));
    EXPECT_EQ(Quarantine::total_bytes() - before, 157u);
    EXPECT_EQ(one.pop(), 0x1000u);
    EXPECT_EQ(one.pop(), 0x2000u);
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(Quarantine::total_bytes() - before, 7u);
    EXPECT_EQ(other.pop(), 0x3000u);
    one.release_memory();
    other.release_memory();
}

TEST(Quarantine, FullRefuses) {
    Quarantine quarantine;
    std::uintptr_t next = 16;
    while (!quarantine.full()) ASSERT_TRUE(quarantine.push(next += 16, 1));
    EXPECT_FALSE(quarantine.push(next, 1));
    // Round and round.
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(quarantine.pop(), 32u + 16u * static_cast<unsigned>(i));
        ASSERT_TRUE(quarantine.push(next += 16, 1));
    }
    while (quarantine.pop() != 0) {
    }
    quarantine.release_memory();
    EXPECT_TRUE(quarantine.push(16, 1));  // usable again
    quarantine.pop();
    quarantine.release_memory();
}

}  // namespace
}  // namespace hakmem
