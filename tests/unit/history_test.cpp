// The last minutes of processes: points in order, bounded, forgotten with the process.
#include "collect/history.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

segment::Snapshot process(std::uint64_t pid, std::uint64_t allocations, bool alive = true) {
    segment::Snapshot snapshot;
    snapshot.pid = pid;
    snapshot.alive = alive;
    snapshot.counters.allocations[3] = allocations;
    snapshot.counters.allocated_bytes = 100;
    snapshot.counters.freed_bytes = 40;
    return snapshot;
}

TEST(History, PointsSince) {
    History history;
    const std::string identity = process(1, 0).identity();
    for (std::uint64_t i = 1; i <= 5; ++i) history.sample({process(1, i * 10)}, i * 1'000);
    const auto points = history.points(identity, 3'000);
    ASSERT_EQ(points.size(), 2U);
    EXPECT_EQ(points[0].time_ms, 4'000U);
    EXPECT_EQ(points[1].allocations, 50U);
    EXPECT_EQ(points[1].live_bytes, 60U);
    EXPECT_EQ(history.points(identity, 0).size(), 5U);
    EXPECT_TRUE(history.points("nobody", 0).empty());
}

TEST(History, IsBounded) {
    History history;
    for (std::uint64_t i = 1; i <= History::kMaxPoints + 50; ++i) history.sample({process(1, i)}, i * 1'000);
    const auto points = history.points(process(1, 0).identity(), 0);
    EXPECT_EQ(points.size(), History::kMaxPoints);
    EXPECT_EQ(points.back().allocations, History::kMaxPoints + 50);
    std::vector<segment::Snapshot> many;
    for (std::uint64_t pid = 1; pid <= History::kMaxProcesses + 10; ++pid) many.push_back(process(pid, 1));
    history.sample(many, 10'000'000);
    EXPECT_TRUE(history.points(many.back().identity(), 0).empty());
    EXPECT_FALSE(history.points(many.front().identity(), 0).empty());
}

TEST(History, EndedAndGone) {
    History history;
    const std::string identity = process(1, 0).identity();
    history.sample({process(1, 1)}, 1'000);
    history.sample({process(1, 2, false)}, 2'000);
    EXPECT_EQ(history.points(identity, 0).size(), 1U);  // nothing happens after its end
    history.sample({}, 3'000);
    EXPECT_TRUE(history.points(identity, 0).empty());
}

TEST(History, ClockSetBack) {
    History history;
    const std::string identity = process(1, 0).identity();
    history.sample({process(1, 1)}, 5'000);
    history.sample({process(1, 2)}, 4'000);
    history.sample({process(1, 3)}, 6'000);
    const auto points = history.points(identity, 0);
    ASSERT_EQ(points.size(), 2U);
    EXPECT_EQ(points[1].time_ms, 6'000U);
}

}  // namespace
}  // namespace hakmem
