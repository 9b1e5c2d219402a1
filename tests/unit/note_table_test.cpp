// The table of notes that lie by themselves, and how a span's notes move on to rows once there are many.
#include "core/note_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/notes.h"
#include "core/page_heap.h"

namespace hakmem {
namespace {

constexpr std::uintptr_t kFirst = 0x7F00'0000'0010;

TEST(NoteTable, FindsWhatItMadeUntilThatIsDropped) {
    NoteTable table;
    EXPECT_EQ(table.find(kFirst), nullptr);
    BlockNote *note = table.make(kFirst);
    ASSERT_NE(note, nullptr);
    EXPECT_TRUE(note->is_clear());
    EXPECT_TRUE(table.holds(note));
    EXPECT_EQ(table.block_of(note), kFirst);
    EXPECT_EQ(table.find(kFirst), note);
    EXPECT_EQ(table.find(kFirst + 16), nullptr);
    note->words[3] = 7;
    table.drop(note);
    EXPECT_EQ(table.find(kFirst), nullptr);
    EXPECT_TRUE(table.make(kFirst)->is_clear());
}

TEST(NoteTable, HoldsNothingBeforeTheFirst) {
    const NoteTable table;
    const BlockNote note{};
    EXPECT_FALSE(table.holds(&note));
}

TEST(NoteTable, ManyStayWhereTheyAre) {
    NoteTable table;
    std::vector<BlockNote *> notes;
    for (std::uint32_t i = 0; i < 50'000; ++i) {
        BlockNote *note = table.make(kFirst + i * 48);
        ASSERT_NE(note, nullptr) << i;
        note->words[0] = i;
        notes.push_back(note);
    }
    for (std::uint32_t i = 0; i < notes.size(); ++i) {
        ASSERT_EQ(table.find(kFirst + i * 48), notes[i]);
        ASSERT_EQ(notes[i]->words[0], i);
    }
}

TEST(NoteTable, SaysWhenItIsFull) {
    NoteTable table;
    std::uint32_t made = 0;
    while (table.make(kFirst + made * 16) != nullptr && made < 1'000'000) ++made;
    EXPECT_GT(made, 60'000u);
    EXPECT_LT(made, 1'000'000u);
    EXPECT_NE(table.find(kFirst), nullptr);
}

TEST(NoteTable, ThreadsAtOnce) {
    NoteTable table;
    std::atomic<unsigned> wrong{0};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            const std::uintptr_t own = kFirst + (std::uintptr_t{t} << 32);
            for (unsigned round = 0; round < 2'000; ++round) {
                for (unsigned i = 0; i < 20; ++i) table.make(own + i * 64)->words[1] = t * 100 + i;
                for (unsigned i = 0; i < 20; ++i) {
                    BlockNote *note = table.find(own + i * 64);
                    if (note == nullptr || note->words[1] != t * 100 + i)
                        ++wrong;
                    else
                        table.drop(note);
                }
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    EXPECT_EQ(wrong, 0u);
}

class NotesOfSpan : public testing::Test {
  protected:
    void SetUp() override {
        span_ = page_heap.allocate_small(size_classes::of_request(50));
        ASSERT_NE(span_, nullptr);
        few_ = span_->slots / notes::kFewOf + 1;
    }
    void TearDown() override {
        if (span_ != nullptr) page_heap.release(span_);
    }
    bool is_single(std::uint32_t index) { return notes::singles.holds(note_of(span_, index, false)); }

    Span *span_ = nullptr;
    std::uint32_t few_ = 0;
};

TEST_F(NotesOfSpan, FewLieByThemselves) {
    EXPECT_EQ(note_of(span_, 5, false), nullptr);
    BlockNote *note = note_of(span_, 5, true);
    ASSERT_NE(note, nullptr);
    EXPECT_TRUE(span_->watched);
    EXPECT_TRUE(is_single(5));
    EXPECT_EQ(note_of(span_, 5, true), note);
    EXPECT_EQ(note_of(span_, 6, false), nullptr);
    EXPECT_EQ(page_map.find(span_->start).region()->notes.load(), nullptr);
    EXPECT_EQ(span_->single_notes, 1);
    drop_note(note);
    EXPECT_EQ(span_->single_notes, 0);
    EXPECT_EQ(note_of(span_, 5, false), nullptr);
}

TEST_F(NotesOfSpan, OneAfterTheOtherNeverNeedRows) {
    for (std::uint32_t i = 0; i < span_->slots; ++i) drop_note(note_of(span_, i, true));
    EXPECT_EQ(span_->notes.load(), nullptr);
}

TEST_F(NotesOfSpan, ManyLieInRowsAndTheFirstStay) {
    std::vector<BlockNote *> made;
    for (std::uint32_t i = 0; i < span_->slots; ++i) {
        BlockNote *note = note_of(span_, i, true);
        ASSERT_NE(note, nullptr);
        EXPECT_TRUE(note->is_clear());
        note->words[0] = i + 1;
        made.push_back(note);
    }
    EXPECT_NE(span_->notes.load(), nullptr);
    EXPECT_EQ(span_->single_notes, few_);
    for (std::uint32_t i = 0; i < span_->slots; ++i) {
        ASSERT_EQ(note_of(span_, i, false), made[i]);
        ASSERT_EQ(is_single(i), i < few_);
    }
    // Later ones of the first slots lie in rows too.
    drop_note(made[0]);
    BlockNote *in_row = note_of(span_, 0, true);
    EXPECT_FALSE(notes::singles.holds(in_row));
    EXPECT_EQ(note_of(span_, 0, false), nullptr);  // nothing is written in it yet
    in_row->words[0] = 1;
    EXPECT_EQ(note_of(span_, 0, false), in_row);
}

TEST_F(NotesOfSpan, WhereAllAreWatchedTheyLieInRowsAtOnce) {
    notes::are_many = true;
    EXPECT_NE(note_of(span_, 5, true), nullptr);
    notes::are_many = false;
    EXPECT_NE(span_->notes.load(), nullptr);
    EXPECT_FALSE(is_single(5));
    EXPECT_EQ(span_->single_notes, 0);
}

TEST_F(NotesOfSpan, NothingIsLeftWhenTheSpanGoes) {
    const std::uintptr_t start = span_->start;
    std::vector<std::uintptr_t> blocks;
    std::vector<BlockNote *> made;
    for (std::uint32_t i = 0; i < 2 * few_; ++i) {
        blocks.push_back(span_->slot(i));
        made.push_back(note_of(span_, i, true));
        made.back()->words[0] = 1;
    }
    page_heap.release(span_);
    span_ = nullptr;
    for (std::uint32_t i = 0; i < 2 * few_; ++i) {
        EXPECT_EQ(notes::singles.find(blocks[i]), nullptr);
        EXPECT_TRUE(made[i]->is_clear());
    }
    span_ = page_heap.allocate_small(size_classes::of_request(50));
    ASSERT_EQ(span_->start, start);
    EXPECT_FALSE(span_->watched);
    EXPECT_EQ(span_->notes.load(), nullptr);
    EXPECT_EQ(note_of(span_, 0, false), nullptr);
}

}  // namespace
}  // namespace hakmem
