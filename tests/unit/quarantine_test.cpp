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
    EXPECT_EQ(one.known_bytes(), 150);
    EXPECT_EQ(other.known_bytes(), 7);
    EXPECT_EQ(one.pop().block, 0x1000u);
    EXPECT_EQ(one.pop().block, 0x2000u);
    EXPECT_TRUE(one.empty());
    EXPECT_EQ(one.known_bytes(), 0);
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
    ASSERT_TRUE(quarantine.push({0x7FFF'1234'5670, true, 0xFFFF'FFF0, nullptr}));
    ASSERT_TRUE(quarantine.push({0x7FFF'1234'5680, false, 8208, note}));
    const Quarantine::Kept first = quarantine.pop();
    EXPECT_EQ(first.block, 0x7FFF'1234'5670u);
    EXPECT_TRUE(first.large);
    EXPECT_EQ(first.bytes, 0xFFFF'FFF0u);
    EXPECT_EQ(first.small_bytes(), 0u);
    const Quarantine::Kept second = quarantine.pop();
    EXPECT_EQ(second.block, 0x7FFF'1234'5680u);
    EXPECT_FALSE(second.large);
    EXPECT_EQ(second.small_bytes(), 8208u);
    EXPECT_EQ(second.note, note);
    quarantine.release_memory();
}

// One that holds nearly all that may be held leaves some to those that hold next to nothing.
TEST(Quarantine, NobodyIsLeftWithoutOne) {
    constexpr std::uint64_t kMost = 16 << 20;
    Quarantine sleeper, worker;
    std::uintptr_t next = 0;
    while (!sleeper.is_over(kMost)) ASSERT_TRUE(push(sleeper, next += 16, 1000));
    EXPECT_NEAR(static_cast<double>(sleeper.known_bytes()), 15 << 20, 2.0 * Quarantine::kUntold);
    for (int i = 0; i < 60; ++i) {
        ASSERT_TRUE(push(worker, next += 16, 1000));
        EXPECT_FALSE(worker.is_over(kMost)) << i;
    }
    while (!worker.is_over(kMost)) ASSERT_TRUE(push(worker, next += 16, 1000));
    EXPECT_LT(worker.known_bytes() - sleeper.known_bytes(), (1 << 17)) << "as the sleeper knows it";
    EXPECT_LE(Quarantine::total_bytes(), kMost);
    for (Quarantine *quarantine : {&sleeper, &worker}) {
        while (quarantine->pop().block != 0) continue;
        quarantine->release_memory();
    }
    EXPECT_EQ(Quarantine::total_bytes(), 0u);
}

// Who looks only when there is no room left holds no more than who looks each time, but for what need not be told.
TEST(Quarantine, RoomIsWithinTheBoundOfAll) {
    constexpr std::uint64_t kMost = 1 << 20;
    Quarantine one, other;
    EXPECT_FALSE(one.has_room_for(1));  // there is no list yet
    std::uintptr_t next = 0;
    unsigned looks = 0;
    for (int i = 0; i < 20'000; ++i) {
        Quarantine &quarantine = i % 3 == 0 ? other : one;
        if (!quarantine.has_room_for(1000)) {
            ++looks;
            while (quarantine.is_over(kMost - 1000)) quarantine.pop();
            quarantine.take_room(kMost);
        }
        ASSERT_TRUE(push(quarantine, next += 16, 1000));
        ASSERT_LE(one.own_bytes() + other.own_bytes(), static_cast<std::int64_t>(kMost) + 4 * Quarantine::kUntold);
    }
    EXPECT_GT(one.own_bytes() + other.own_bytes(), static_cast<std::int64_t>(kMost) * 14 / 16);
    EXPECT_GT(looks, 1000u) << "once it is full, each that comes in makes room";
    // What was taken out has been filled by the other one: it is not to come back unasked.
    while (one.pop().block != 0) continue;
    while (!other.is_over(kMost)) ASSERT_TRUE(push(other, next += 16, 1000));
    for (int i = 0; i < 20 && one.has_room_for(1000); ++i) {
        ASSERT_LT(i, Quarantine::kUntold / 1000 + 1);
        ASSERT_TRUE(push(one, next += 16, 1000));
    }
    EXPECT_FALSE(one.has_room_for(1000));
    for (Quarantine *quarantine : {&one, &other}) {
        while (quarantine->pop().block != 0) continue;
        quarantine->release_memory();
    }
    EXPECT_EQ(Quarantine::total_bytes(), 0u);
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
