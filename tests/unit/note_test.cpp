#include "diag/note.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

TEST(Note, ZeroKnowsNothing) {
    BlockNote zero{};
    const Note note(&zero);
    EXPECT_EQ(note.state(), Note::State::none);
    EXPECT_FALSE(note.sampled() || note.filled() || note.poisoned() || note.told());
    EXPECT_EQ(note.alloc_stack(), 0u);
    EXPECT_EQ(note.slack(), 0u);
    EXPECT_EQ(note.place(), 0u);
}

TEST(Note, KeepsWhatItIsTold) {
    BlockNote block{};
    Note note(&block);
    constexpr StackId kLargest = Note::kMostStacks - 1;
    note.begin(kLargest, Family::new_array, 0xFFFFFFFF, {.slack = 65536, .spare = 2047, .filled = true});
    EXPECT_EQ(note.state(), Note::State::live);
    EXPECT_EQ(note.alloc_stack(), kLargest);
    EXPECT_EQ(note.family(), Family::new_array);
    EXPECT_TRUE(note.filled() && note.sampled());
    EXPECT_EQ(note.weight(), 0xFFFFFFFFu);
    EXPECT_EQ(note.slack(), 65536u);
    EXPECT_EQ(note.spare(), 2047u);
    EXPECT_FALSE(note.hunted());
    note.set_place(130);
    EXPECT_EQ(note.place(), 130u);
    for (const std::uint32_t offset : {0u, 16u, 4080u, 8176u}) {
        note.set_user_offset(offset);
        EXPECT_EQ(note.user_offset(), offset);
        EXPECT_TRUE(note.filled() && note.sampled());
    }
    note.set_told();
    EXPECT_TRUE(note.told());
    note.keep(kLargest - 1, true);
    EXPECT_EQ(note.state(), Note::State::kept);
    EXPECT_EQ(note.free_stack(), kLargest - 1);
    EXPECT_EQ(note.alloc_stack(), kLargest);
    EXPECT_EQ(note.user_offset(), 8176u);
    EXPECT_EQ(note.place(), 130u);
    EXPECT_TRUE(note.poisoned());
    EXPECT_FALSE(note.told());  // what was told was of the live block
    note.begin(1, Family::malloc, 0, {.slack = 16, .filled = true, .hunted = true});
    EXPECT_TRUE(note.hunted());
    note.begin(1, Family::malloc, 0, {});
    EXPECT_FALSE(note.filled() || note.sampled() || note.poisoned());
    EXPECT_EQ(note.free_stack(), 0u);
    EXPECT_EQ(note.user_offset(), 0u);
    EXPECT_EQ(note.place(), 0u);
    EXPECT_FALSE(note.hunted());
}

}  // namespace
}  // namespace hakmem
