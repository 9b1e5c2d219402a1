#include "diag/pace.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

constexpr std::int64_t kShare = 40;

// A program that comes by every `gap` ticks, of which work that is done takes `cost`: the share of its time that the
// work takes.
double share_of(std::uint64_t gap, std::uint64_t cost, std::int64_t in_hand = 0) {
    sampling::Random random;
    random.seed(7);
    Pace pace;
    std::uint64_t now = 1'000'000'000, worked = 0;
    pace.start(now, kShare, in_hand);
    const std::uint64_t start = now;
    for (std::uint32_t skip = 1; now < start + 2'000'000'000;) {
        now += gap * skip;
        if (pace.may(now)) {
            pace.spent(cost);
            now += cost;
            worked += cost;
        }
        skip = pace.next(random);
        EXPECT_GE(skip, 1U);
        EXPECT_LT(skip, 2 * Pace::kMostSkipped);
    }
    return static_cast<double>(worked) / static_cast<double>(now - start);
}

TEST(Pace, KeepsWorkBelowItsShare) {
    for (const std::uint64_t gap : {20U, 500U, 10'000U, 200'000U})
        for (const std::uint64_t cost : {100U, 1'000U, 30'000U, 1'000'000U})
            EXPECT_LE(share_of(gap, cost), 1.05 / kShare) << gap << " " << cost;
}

TEST(Pace, DoesWhatItMay) {
    // Cheap work on rare occasions is done each time.
    EXPECT_NEAR(share_of(100'000, 100), 100.0 / 100'100, 1e-5);
    // Dear work on frequent ones takes what there is.
    EXPECT_GE(share_of(500, 10'000), 0.5 / kShare);
}

TEST(Pace, IdleTimeIsNotSaved) {
    Pace pace;
    pace.start(0, kShare, 0);
    EXPECT_TRUE(pace.may(1'000'000'000'000));
    EXPECT_TRUE(pace.may(1'000'000'000'000, 1'000));
    EXPECT_FALSE(pace.may(1'000'000'000'000, 100'000));
}

// The clock goes on while other threads have the processor: that was not this one's work.
TEST(Pace, OthersTurnsAreNotCharged) {
    Pace pace;
    pace.start(0, kShare, 0);
    std::uint64_t now = 1'000'000;
    ASSERT_TRUE(pace.may(now));
    constexpr std::uint64_t kTurn = 30'000'000;
    pace.spent(kTurn);
    now += kTurn;
    std::uint64_t waited = 0;
    for (; !pace.may(now); now += 10'000) waited += 10'000;
    EXPECT_LE(waited, kTurn * 3 / 2);
    EXPECT_EQ(Pace::own(500), 500u);
    EXPECT_LT(Pace::own(kTurn), kTurn / 20);
}

// Work that costs more than is ever saved for nothing is done in the end.
TEST(Pace, DearWorkIsSavedFor) {
    Pace pace;
    pace.start(0, kShare, 0);
    std::uint64_t now = 0;
    for (unsigned i = 0; i < 2; ++i) {
        const std::uint64_t before = now;
        while (!pace.may(now, 900'000)) ASSERT_LT((now += 10'000) - before, 100'000'000u);
        EXPECT_GE(now - before, 500'000u * kShare);
        pace.spent(900'000);
    }
}

TEST(Pace, WhatIsInHandGoesFirst) {
    Pace pace;
    pace.start(0, kShare, 1'000'000);
    EXPECT_TRUE(pace.may(0, 1'000'000));
    for (std::uint64_t now = 1; now <= 10; ++now) {
        EXPECT_TRUE(pace.may(now));
        pace.spent(100'000);
    }
    pace.spent(1);
    EXPECT_FALSE(pace.may(11));
}

TEST(Pace, AllZeroDoesNothing) {
    Pace pace;
    sampling::Random random;
    random.seed(1);
    EXPECT_EQ(pace.next(random), 1U);
    EXPECT_FALSE(pace.may(100));
}

}  // namespace
}  // namespace hakmem
