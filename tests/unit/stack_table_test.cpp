#include "diag/stack_table.h"

#include <gtest/gtest.h>

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
    constexpr unsigned kInner = StackTable::kShortFrames;
    const auto deep = [](std::uintptr_t inner, std::uintptr_t outer) {
        std::vector<std::uintptr_t> pc(kInner, 0x7000 + inner);
        pc.push_back(outer);
        return pc;
    };
    const StackId whole = intern(deep(1, 1));
    EXPECT_EQ(frames_of(whole), kInner + 1);
    for (std::uintptr_t i = 2; table_->used() < StackTable::kMostWhole; ++i) {
        ASSERT_FALSE(table_->keeps_short());
        ASSERT_NE(intern(deep(1, i)), 0u);
    }
    EXPECT_TRUE(table_->keeps_short());
    EXPECT_EQ(intern(deep(1, 1)), whole) << "what is known as a whole stays so";

    const auto find = [&](const std::vector<std::uintptr_t> &pc) {
        return table_->find(pc.data(), static_cast<unsigned>(pc.size()));
    };
    EXPECT_EQ(find(deep(1, 1)), whole);
    EXPECT_EQ(find(deep(2, 1)), 0u);
    const StackId one = intern(deep(2, 0x100000)), same = intern(deep(2, 0x200000)), other = intern(deep(3, 1));
    EXPECT_EQ(find(deep(2, 0x300000)), one);
    EXPECT_NE(one, 0u);
    EXPECT_EQ(frames_of(one), kInner);
    EXPECT_EQ(one, same);
    EXPECT_NE(one, other);
    EXPECT_EQ(frames_of(intern({0x9000, 0x9001})), 2u) << "short ones are what they are";
}

// Whoever has walked a stack by stretches knows it by the same key.
TEST_F(StackTableTest, AKeyIsTheSameHoweverItWasPutTogether) {
    std::vector<std::uintptr_t> pc;
    for (std::uintptr_t i = 0; i < 30; ++i) pc.push_back(0x5000 + i * i);
    const StackId id = intern(pc);
    for (unsigned first = 0; first <= pc.size(); ++first) {
        for (unsigned second = first; second <= pc.size(); second += 7) {
            StackTable::Key key;
            StackTable::Key::Part part;
            for (unsigned i = 0; i < pc.size(); ++i) {
                if (i >= first && i < second) {
                    part.add(pc[i]);
                    continue;
                }
                if (i == second) key.add(part);
                key.add(pc[i]);
            }
            if (second == pc.size()) key.add(part);
            key.finish(static_cast<unsigned>(pc.size()));
            ASSERT_EQ(table_->find(key), id) << first << " to " << second;
        }
    }
    StackTable::Key unknown = StackTable::Key::of(pc.data(), 29);
    EXPECT_EQ(table_->find(unknown), 0u);
    std::swap(pc[3], pc[4]);
    EXPECT_EQ(table_->find(StackTable::Key::of(pc.data(), 30)), 0u) << "the order counts";
}

}  // namespace
}  // namespace hakmem
