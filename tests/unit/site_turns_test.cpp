#include "diag/site_turns.h"

#include <gtest/gtest.h>

#include <memory>

namespace hakmem {
namespace {

using Turn = SiteTurns::Turn;

constexpr std::uint64_t kNever = ~std::uint64_t{0};  // random bits that no chance falls to

TEST(SiteTurns, TheFirstBlocksOfEachSiteForCertain) {
    const auto turns = std::make_unique<SiteTurns>();
    for (const std::uint16_t site : {std::uint16_t{1}, std::uint16_t{500}}) {
        EXPECT_EQ(turns->take(site, 10, 0, kNever), Turn::back);
        EXPECT_EQ(turns->take(site, 10, 0, kNever), Turn::front);
        for (unsigned i = 2; i < SiteTurns::kCertain; ++i) EXPECT_NE(turns->take(site, 10, 0, kNever), Turn::none) << i;
        EXPECT_EQ(turns->take(site, 10, 0, kNever), Turn::none);
    }
}

TEST(SiteTurns, ThenEverMoreRarely) {
    const auto turns = std::make_unique<SiteTurns>();
    std::uint64_t state = 88172645463325252u;
    unsigned taken = 0;
    for (unsigned i = 0; i < 1'000'000; ++i) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        taken += turns->take(7, 10, 0, state) != Turn::none;
    }
    EXPECT_GT(taken, SiteTurns::kCertain + 5);
    EXPECT_LT(taken, SiteTurns::kCertain + 40);
}

TEST(SiteTurns, FewerToEachWhereManyAreHeld) {
    const auto turns = std::make_unique<SiteTurns>();
    EXPECT_NE(turns->take(1, 10, SiteTurns::kMostHeld - 1, 0), Turn::none);
    EXPECT_NE(turns->take(1, 10, SiteTurns::kMostHeld - 1, 0), Turn::none);
    EXPECT_EQ(turns->take(1, 10, SiteTurns::kMostHeld - 1, 0), Turn::none);
    EXPECT_NE(turns->take(1, 10, SiteTurns::kMostHeld / 4, 0), Turn::none);
    EXPECT_EQ(turns->take(2, 10, SiteTurns::kMostHeld, 0), Turn::none);
}

TEST(SiteTurns, AProgramOfManySitesDoesNotDrown) {
    const auto turns = std::make_unique<SiteTurns>();
    unsigned taken = 0;
    for (unsigned site = 0; site < 60'000; ++site)
        taken += turns->take(static_cast<std::uint16_t>(site), 10, 0, 0) != Turn::none;
    EXPECT_GE(taken, SiteTurns::kMostSaved);
    EXPECT_LE(taken, SiteTurns::kMostSaved + 5'000 * SiteTurns::kEachMs);  // had it taken five seconds
}

// Whoever looks before it asks is told of a refusal, but for one that the clock alone tells of.
TEST(SiteTurns, ARefusalIsKnownBefore) {
    const auto turns = std::make_unique<SiteTurns>();
    EXPECT_TRUE(turns->has_room(1, SiteTurns::kMostHeld - 1));
    EXPECT_FALSE(turns->has_room(1, SiteTurns::kMostHeld));
    unsigned site = 0;
    for (; turns->has_room(static_cast<std::uint16_t>(site), 0); ++site) {
        ASSERT_LE(site, SiteTurns::kMostSaved + 5'000 * SiteTurns::kEachMs);
        EXPECT_NE(turns->take(static_cast<std::uint16_t>(site), 10, 0, 0), Turn::none);
    }
    EXPECT_GE(site, SiteTurns::kMostSaved);
}

TEST(SiteTurns, LargeBlocksCostMore) {
    const auto turns = std::make_unique<SiteTurns>();
    unsigned taken = 0;
    for (std::uint16_t site = 0; site < 100; ++site)
        taken += turns->take(site, std::size_t{64} << 20, 0, 0) != Turn::none;
    EXPECT_GE(taken, 2u);
    EXPECT_LE(taken, 10u);
}

}  // namespace
}  // namespace hakmem
