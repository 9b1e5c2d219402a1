#include "diag/quarantine.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

bool push(Quarantine &quarantine, std::uintptr_t block, std::uint32_t bytes) {
    return quarantine.push({.block = block, .bytes = bytes});
}

TEST(Quarantine, OldestFirstAndCounted) {
    Quarantine one, other;
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(one.pop().block, 0u);
    ASSERT_TRUE(push(one, 0x1000, 100) && push(one, 0x2000, 50) && push(other, 0x3000, 7));
    EXPECT_EQ(one.known_bytes(), 150u);
    EXPECT_EQ(other.known_bytes(), 7u);
    EXPECT_EQ(one.pop().block, 0x1000u);
    EXPECT_EQ(one.pop().block, 0x2000u);
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(one.known_bytes(), 0u);
    EXPECT_EQ(other.pop().block, 0x3000u);
    one.release_memory();
    other.release_memory();
    EXPECT_EQ(Quarantine::total_bytes(), 0u);
}

// What each thread keeps to itself is little beside the bound that the sum is for.
TEST(Quarantine, ThreadsTellWhatTheyHold) {
    Quarantine one, other;
    for (int i = 0; i < 1000; ++i) ASSERT_TRUE(push(one, 0x1000, 1000) && push(other, 0x1000, 500));
    EXPECT_NEAR(static_cast<double>(Quarantine::total_bytes()), 1.5e6, 2.0 * Quarantine::kUntold);
    EXPECT_NEAR(static_cast<double>(one.known_bytes()), 1.5e6, 1.0 * Quarantine::kUntold);
    while (one.pop().block != 0) continue;
    while (other.pop().block != 0) continue;
    one.release_memory();
    other.release_memory();
    EXPECT_EQ(Quarantine::total_bytes(), 0u);
}

TEST(Quarantine, KnowsEverythingOfABlockAgain) {
    Quarantine quarantine;
    auto *note = reinterpret_cast<BlockNote *>(0x7FFF'FFFF'FFF0);
    ASSERT_TRUE(quarantine.push({0x7FFF'1234'5670, true, 0xFFFF'FFF0, note}));
    ASSERT_TRUE(quarantine.push({0x10, false, 16, nullptr}));
    EXPECT_EQ(quarantine.ahead(1).block, 0x10u);
    EXPECT_EQ(quarantine.ahead(2).block, 0u);
    const Quarantine::Kept first = quarantine.pop();
    EXPECT_EQ(first.block, 0x7FFF'1234'5670u);
    EXPECT_TRUE(first.large);
    EXPECT_EQ(first.bytes, 0xFFFF'FFF0u);
    EXPECT_EQ(first.note, note);
    const Quarantine::Kept second = quarantine.pop();
    EXPECT_FALSE(second.large);
    EXPECT_EQ(second.note, nullptr);
    quarantine.release_memory();
}

TEST(Quarantine, FullRefuses) {
    Quarantine quarantine;
    std::uintptr_t next = 16;
    while (!quarantine.full()) ASSERT_TRUE(push(quarantine, next += 16, 1));
    EXPECT_FALSE(push(quarantine, next, 1));
    // Round and round.
    for (int i = 0; i < 1000; ++i) {
        EXPECT_EQ(quarantine.pop().block, 32u + 16u * static_cast<unsigned>(i));
        ASSERT_TRUE(push(quarantine, next += 16, 1));
    }
    while (quarantine.pop().block != 0) {
    }
    quarantine.release_memory();
    EXPECT_TRUE(push(quarantine, 16, 1));  // usable again
    quarantine.pop();
    quarantine.release_memory();
}

}  // namespace
}  // namespace hakmem
