#include "diag/incident_table.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <map>
#include <memory>
#include <thread>
#include <vector>

namespace hakmem {
namespace {

using Noted = IncidentTable::Noted;
using segment::IncidentRecord;

class IncidentTableTest : public ::testing::Test {
  protected:
    IncidentTableTest() : segment(create_private_segment(nullptr)), table(std::make_unique<IncidentTable>()) {
        table->start(segment);
    }
    ~IncidentTableTest() override { munmap(segment.base, kSegmentBytes); }

    Noted note(std::uint64_t key, std::uint64_t now = 1) {
        return table
            ->note(key, now,
                   [key](IncidentRecord &record) {
                       record.address = key;
                       record.kind = 3;
                   })
            .noted;
    }

    // Key and count of every record that a reader would accept.
    std::map<std::uint64_t, std::uint64_t> counts() const {
        std::map<std::uint64_t, std::uint64_t> counts;
        for (std::uint32_t i = 0; i < segment.header().incidents_used; ++i) {
            const IncidentRecord &record = segment.incident(i);
            if (record.sequence == 0 || record.sequence % 2 != 0) continue;
            EXPECT_EQ(record.address, record.key);
            EXPECT_EQ(record.kind, 3u);
            EXPECT_TRUE(counts.emplace(record.key, record.count).second) << "key " << record.key << " twice";
        }
        return counts;
    }

    static std::uint64_t spread(std::uint64_t value) { return (value + 1) * 0x9E3779B97F4A7C15; }

    Segment segment;
    std::unique_ptr<IncidentTable> table;
};

TEST_F(IncidentTableTest, TheFirstIsRecordedAndTheNextIsCounted) {
    EXPECT_EQ(note(spread(1), 10), Noted::first);
    EXPECT_EQ(note(spread(1), 30), Noted::again);
    EXPECT_EQ(note(spread(1), 20), Noted::again);
    const IncidentRecord &record = segment.incident(0);
    EXPECT_EQ(record.count, 3u);
    EXPECT_EQ(record.first_ns, 10u);
    EXPECT_EQ(record.last_ns, 30u);
    EXPECT_EQ(segment.header().incidents_used, 1u);
}

TEST_F(IncidentTableTest, WithoutASegmentEverythingIsDropped) {
    const auto empty = std::make_unique<IncidentTable>();
    EXPECT_EQ(empty->note(1, 1, [](IncidentRecord &) { FAIL(); }).noted, Noted::dropped);
}

TEST_F(IncidentTableTest, WhenFullTheKnownAreStillCountedAndTheRestIsDropped) {
    for (std::uint32_t i = 0; i < kIncidents; ++i) EXPECT_EQ(note(spread(i)), Noted::first);
    EXPECT_EQ(note(spread(kIncidents)), Noted::dropped);
    EXPECT_EQ(note(spread(0)), Noted::again);
    EXPECT_EQ(counts().size(), kIncidents);
    EXPECT_EQ(segment.header().incidents_used, kIncidents);
}

TEST_F(IncidentTableTest, KeysThatShareASlotAreKeptApart) {
    // Equal in the bits that choose the slot, different above.
    const std::uint64_t step = std::uint64_t{1} << 40;
    for (std::uint64_t i = 1; i <= 20; ++i) EXPECT_EQ(note(i * step), Noted::first);
    for (std::uint64_t i = 1; i <= 20; ++i) EXPECT_EQ(note(i * step), Noted::again);
    EXPECT_EQ(counts().size(), 20u);
}

TEST_F(IncidentTableTest, AFreshStartForgets) {
    note(spread(1));
    const Segment other = create_private_segment(nullptr);
    table->start(other);
    EXPECT_EQ(note(spread(1)), Noted::first);
    EXPECT_EQ(other.incident(0).count, 1u);
    EXPECT_EQ(segment.incident(0).count, 1u);
    munmap(other.base, kSegmentBytes);
}

TEST_F(IncidentTableTest, ThreadsWithEqualAndDistinctKeysLoseNothing) {
    constexpr unsigned kThreads = 8;
    constexpr unsigned kRounds = 1000;
    constexpr unsigned kKeys = 100;
    constexpr unsigned kCopies = 20;  // fresh tables, as the races are at the first sight of a key
    for (unsigned copy = 0; copy < kCopies; ++copy) {
        const Segment fresh = create_private_segment(segment.base);
        ASSERT_TRUE(fresh);
        table->start(fresh);
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; ++t) {
            threads.emplace_back([this] {
                for (unsigned i = 0; i < kRounds; ++i) note(spread(i % kKeys));
            });
        }
        for (std::thread &thread : threads) thread.join();
        const auto found = counts();
        ASSERT_EQ(found.size(), kKeys);
        for (const auto &[key, count] : found) ASSERT_EQ(count, kThreads * kRounds / kKeys) << key;
    }
}

TEST_F(IncidentTableTest, AfterKill9EveryIncidentThatReturnedIsThere) {
    // The child works on shared memory and says how far it got; it is killed in the middle.
    auto *shared = static_cast<unsigned char *>(
        mmap(nullptr, kSegmentBytes + 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(shared, MAP_FAILED);
    munmap(segment.base, kSegmentBytes);
    segment = {shared, true};
    auto *returned = reinterpret_cast<std::atomic<std::uint64_t> *>(shared + kSegmentBytes);
    table->start(segment);
    const pid_t child = fork();
    if (child == 0) {
        for (std::uint64_t i = 0;; ++i) {
            note(spread(i / 16 % kIncidents));
            returned->fetch_add(1);
        }
    }
    while (returned->load() < 3000) usleep(100);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    std::uint64_t sum = 0;
    for (const auto &[key, count] : counts()) sum += count;
    EXPECT_GE(sum, returned->load());
    EXPECT_LE(sum, returned->load() + 1);
    munmap(shared + kSegmentBytes, 4096);
}

}  // namespace
}  // namespace hakmem
