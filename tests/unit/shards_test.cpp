#include "diag/shards.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace hakmem {
namespace {

using segment::CounterShard;

bool always(void *, std::size_t) { return true; }
bool never(void *, std::size_t) { return false; }

class ShardPoolTest : public ::testing::Test {
  protected:
    void start(std::uint32_t count, ShardPool::Prepare prepare = always) {
        records = std::vector<CounterShard>(count);
        pool.start(header, records.data(), count, prepare);
    }

    // As the reader sums.
    std::uint64_t sum_of_class_0() const {
        std::uint64_t sum = 0;
        for (std::uint32_t i = 0; i < header.shards_used; ++i) sum += records[i].allocations[0];
        return sum;
    }

    segment::Header header{};
    std::vector<CounterShard> records;
    ShardPool pool;
};

TEST_F(ShardPoolTest, BeforeTheStartCountsAreTakenAndLost) {
    CounterShard *shard = pool.claim(1);
    ASSERT_NE(shard, nullptr);
    ++shard->allocations[0];
    pool.release(shard);
}

TEST_F(ShardPoolTest, RecordsAreDistinctAndNeverTheFirst) {
    start(8);
    std::set<CounterShard *> seen;
    for (std::uint32_t tid = 1; tid <= 7; ++tid) {
        CounterShard *shard = pool.claim(tid);
        EXPECT_TRUE(seen.insert(shard).second);
        EXPECT_EQ(shard->tid, tid);
        EXPECT_EQ(pool.index_of(shard), tid);
    }
    EXPECT_EQ(header.shards_used, 8u);
}

TEST_F(ShardPoolTest, CountsStayWhenTheThreadEndsAndTheRecordIsUsedAgain) {
    start(8);
    CounterShard *first = pool.claim(1);
    first->allocations[0] = 5;
    pool.release(first);
    EXPECT_EQ(first->tid, 0u);
    EXPECT_EQ(sum_of_class_0(), 5u);
    CounterShard *second = pool.claim(2);
    EXPECT_EQ(second, first);
    ++second->allocations[0];
    EXPECT_EQ(sum_of_class_0(), 6u);
}

TEST_F(ShardPoolTest, AThreadWithoutARecordIsAddedToTheFirstWhenItEnds) {
    start(2);
    CounterShard *only = pool.claim(1);
    only->allocations[0] = 1;
    CounterShard *extra = pool.claim(2);
    ASSERT_EQ(pool.index_of(extra), 0u);
    extra->allocations[0] = 10;
    extra->incidents[1] = 2;
    extra->last_incident_ns[1] = 77;
    records[0].last_incident_ns[1] = 50;
    pool.release(extra);
    EXPECT_EQ(sum_of_class_0(), 11u);
    EXPECT_EQ(records[0].incidents[1], 2u);
    EXPECT_EQ(records[0].last_incident_ns[1], 77u);
    EXPECT_EQ(records[0].tid, 0u);
}

TEST_F(ShardPoolTest, AFullDiskMeansPrivateCounts) {
    start(8, never);
    CounterShard *shard = pool.claim(1);
    EXPECT_EQ(pool.index_of(shard), 0u);
    shard->allocations[0] = 3;
    pool.release(shard);
    EXPECT_EQ(sum_of_class_0(), 3u);
}

TEST_F(ShardPoolTest, ManyThreadsComeAndGoAndEveryCountIsThere) {
    constexpr unsigned kThreads = 8;
    constexpr unsigned kRounds = 3000;
    start(6);  // fewer than threads: some count privately
    std::atomic<bool> done{false};
    std::atomic<bool> fell{false};
    std::thread reader([&] {
        std::uint64_t last = 0;
        while (!done) {
            std::uint64_t sum = 0;
            for (std::uint32_t i = 0; i < std::atomic_ref(header.shards_used).load(); ++i) {
                sum += std::atomic_ref(records[i].allocations[0]).load();
            }
            if (sum < last) fell = true;
            last = sum;
        }
    });
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < kRounds; ++i) {
                CounterShard *shard = pool.claim(t + 1);
                for (unsigned n = 0; n < 10; ++n) {
                    std::atomic_ref count(shard->allocations[0]);
                    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
                }
                pool.release(shard);
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    done = true;
    reader.join();
    EXPECT_FALSE(fell) << "a sum fell while threads ended";
    EXPECT_EQ(sum_of_class_0(), std::uint64_t{kThreads} * kRounds * 10);
    EXPECT_LE(header.shards_used, 6u);
}

TEST_F(ShardPoolTest, AHostileCountOfRecordsLeadsNowhere) {
    start(4);
    header.shards_used = 0xFFFFFFFF;
    for (std::uint32_t tid = 1; tid < 10; ++tid) {
        CounterShard *shard = pool.claim(tid);
        ASSERT_NE(shard, nullptr);
        ++shard->frees[0];
    }
}

}  // namespace
}  // namespace hakmem
