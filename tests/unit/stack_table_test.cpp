#include "diag/stack_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <thread>
#include <vector>

namespace hakmem {
namespace {

class StackTableTest : public ::testing::Test {
  protected:
    StackTableTest() : segment_(create_private_segment(nullptr)) {
        modules_.start(segment_.modules(), &segment_.header().modules_used);
        table_->start(segment_);
    }
    StackId intern(const std::vector<std::uintptr_t> &pc) {
        return table_->intern(pc.data(), static_cast<unsigned>(pc.size()), modules_);
    }
    unsigned frames_of(StackId id) const {
        segment::Stack stack{};
        table_->copy(id, stack);
        return stack.frames;
    }

    Segment segment_;
    ModuleMap modules_;
    std::unique_ptr<StackTable> table_ = std::make_unique<StackTable>();
};

TEST_F(StackTableTest, EqualStacksHaveOneNumber) {
    const StackId one = intern({0x1000, 0x2000}), other = intern({0x1000, 0x2001}), shorter = intern({0x1000});
    EXPECT_EQ(std::set({one, other, shorter}).size(), 3u);
    EXPECT_EQ(intern({0x1000, 0x2000}), one);
    EXPECT_NE(one, 0u);
    EXPECT_EQ(intern({}), 0u);
    segment::Stack stack{};
    table_->copy(one, stack);
    EXPECT_EQ(stack.frames, 2u);
    EXPECT_EQ(stack.pc[1], 0x2000u);
    EXPECT_NE(table_->key(one), table_->key(other));
    EXPECT_EQ(table_->key(0), 0u);
    EXPECT_EQ(table_->key(kStacks + 5), 0u);
}

TEST_F(StackTableTest, SumsAreByTheWeight) {
    const StackId id = intern({0x1000});
    table_->count_allocated(id, 512, 1000);  // stands for two
    table_->count_allocated(id, 256, 50);
    table_->count_freed(id, 512, 1000);
    table_->count_allocated(0, 256, 50);  // nobody's
    const segment::StackRecord &record = segment_.stacks()[id];
    EXPECT_EQ(record.allocated_objects, 768u);
    EXPECT_EQ(record.allocated_bytes, 2050u);
    EXPECT_EQ(record.freed_objects, 512u);
    EXPECT_EQ(record.freed_bytes, 2000u);
}

TEST_F(StackTableTest, ThreadsAgreeAndFullIsUnknown) {
    std::vector<std::vector<StackId>> ids(4);
    std::vector<std::thread> threads;
    for (auto &own : ids)
        threads.emplace_back([&] {
            for (std::uintptr_t i = 0; i < 1000; ++i) own.push_back(intern({i + 1, 0x5000}));
        });
    for (std::thread &thread : threads) thread.join();
    for (const auto &own : ids) EXPECT_EQ(own, ids[0]);
    EXPECT_EQ(std::set(ids[0].begin(), ids[0].end()).size(), 1000u);
    StackId last = 1;
    for (std::uintptr_t i = 0; i < 2 * kStacks && last != 0; ++i) last = intern({i + 1, 0x6000});
    EXPECT_EQ(last, 0u);
    EXPECT_EQ(intern({1, 0x5000}), ids[0][0]);  // what is known stays known
}

// A program that recurses has ever new stacks; who is at the inner end of them is not new.
TEST_F(StackTableTest, NearlyFullOnlyTheInnermostFramesCount) {
    // So many frames alike, and one further out.
    const auto deep = [](unsigned inner, std::uintptr_t which, std::uintptr_t outer) {
        std::vector<std::uintptr_t> pc(inner, 0x7000 + which);
        pc.push_back(outer);
        return pc;
    };
    const auto find = [&](const std::vector<std::uintptr_t> &pc) {
        return table_->find(pc.data(), static_cast<unsigned>(pc.size()));
    };
    const StackId whole = intern(deep(40, 1, 1));
    EXPECT_EQ(frames_of(whole), 41u);
    std::uintptr_t filling = 1;
    for (std::size_t stage = 1; stage < std::size(StackTable::kStages); ++stage) {
        const unsigned inner = StackTable::kStages[stage].frames;
        const std::uint32_t most = StackTable::kStages[stage - 1].most;
        for (; table_->used() < most; ++filling) ASSERT_NE(intern({filling, filling, filling, filling}), 0u);
        const std::uintptr_t which = 100 * stage;
        EXPECT_EQ(find(deep(inner, which, 1)), 0u);
        const StackId one = intern(deep(inner, which, 1)), same = intern(deep(inner, which, 2));
        EXPECT_NE(one, 0u);
        EXPECT_EQ(frames_of(one), inner);
        EXPECT_EQ(one, same);
        EXPECT_EQ(find(deep(inner, which, 3)), one);
        EXPECT_NE(intern(deep(inner, which + 1, 1)), one);
        EXPECT_EQ(intern(deep(40, 1, 1)), whole) << "what is known as a whole stays so";
        EXPECT_EQ(find(deep(40, 1, 1)), whole);
        EXPECT_EQ(frames_of(intern({0x9000 + stage, 0x9001})), std::min(inner, 2u)) << "short ones are what they are";
        EXPECT_FALSE(table_->is_full());
    }
    for (StackId last = 1; last != 0; ++filling) last = intern({filling, filling});
    EXPECT_TRUE(table_->is_full());
}

TEST_F(StackTableTest, NobodyWhoCallsIsUnknownHoweverManyWaysLeadThere) {
    constexpr std::uintptr_t kSites = 2000, kWays = 50;
    for (std::uintptr_t way = 1; way <= kWays; ++way) {
        for (std::uintptr_t site = 1; site <= kSites; ++site) {
            std::vector<std::uintptr_t> pc(12, 0x10000 * way + site);
            pc[0] = site;
            const StackId id = intern(pc);
            ASSERT_NE(id, 0u) << site << " on way " << way;
            segment::Stack stack{};
            table_->copy(id, stack);
            ASSERT_GT(stack.frames, 0u);
            ASSERT_EQ(stack.pc[0], site);
        }
    }
    EXPECT_FALSE(table_->is_full());
}

// Whoever has summed up a longer stack knows any part of it by the same key.
TEST_F(StackTableTest, AKeyIsTheSameHoweverItWasPutTogether) {
    constexpr unsigned kFrames = 40;
    std::vector<std::uintptr_t> pc;
    std::vector<std::uint64_t> sums{0};  // of the outermost
    for (std::uintptr_t i = 0; i < kFrames; ++i) pc.push_back(0x5000 + i * i);
    for (unsigned i = kFrames; i-- > 0;) sums.push_back(StackTable::Key::further(sums.back(), pc[i]));
    for (unsigned first = 0; first < kFrames; ++first) {
        for (unsigned last = first + 1; last <= kFrames; last += 7) {
            const StackId id = intern({pc.begin() + first, pc.begin() + last});
            ASSERT_NE(id, 0u);
            const std::uint64_t inner = sums[kFrames - first], outer = sums[kFrames - last];
            ASSERT_EQ(table_->find(StackTable::Key::between(inner, outer, last - first)), id)
                << first << " to " << last;
        }
    }
    EXPECT_EQ(table_->find(StackTable::Key::of(pc.data() + 1, 37)), 0u);
    intern(pc);
    std::swap(pc[3], pc[4]);
    EXPECT_EQ(table_->find(StackTable::Key::of(pc.data(), kFrames)), 0u) << "the order counts";
}

}  // namespace
}  // namespace hakmem
