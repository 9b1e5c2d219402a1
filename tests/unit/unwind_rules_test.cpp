#include "diag/unwind_rules.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace hakmem {
namespace {

using Kind = UnwindRule::Kind;

TEST(UnwindRule, IsWhatItWasMadeOf) {
    for (const std::uintptr_t pc : {0x1ul, 0x401234ul, 0x7ffffffffffful}) {
        for (const Kind kind : {Kind::stack_pointer, Kind::frame_pointer, Kind::guess}) {
            for (const std::uintptr_t bytes : {16ul, 32ul, 128ul, 20'000ul, UnwindRule::kMostBytes}) {
                for (std::uintptr_t saved = 0; saved <= UnwindRule::kMostSaved; saved += 8) {
                    const UnwindRule rule = UnwindRule::of(pc, kind, bytes, saved);
                    EXPECT_TRUE(rule.is_of(pc));
                    EXPECT_FALSE(rule.is_of(pc ^ 1));
                    EXPECT_TRUE(rule.leads_on_from(pc));
                    EXPECT_FALSE(rule.leads_on_from(pc ^ 1));
                    EXPECT_EQ(rule.pc(), pc);
                    EXPECT_EQ(rule.kind(), kind);
                    EXPECT_EQ(rule.by_pointer(), kind != Kind::stack_pointer);
                    EXPECT_EQ(rule.guessed(), kind == Kind::guess);
                    EXPECT_EQ(rule.bytes(), bytes);
                    EXPECT_EQ(rule.saved(), saved);
                }
            }
        }
    }
}

TEST(UnwindRule, WhatHasNoCallerLeadsNowhere) {
    for (const Kind kind : {Kind::end, Kind::other}) {
        const UnwindRule rule = UnwindRule::of(0x1234, kind, 0, 0);
        EXPECT_EQ(rule.kind(), kind);
        EXPECT_FALSE(rule.leads_on_from(0x1234));
    }
    EXPECT_FALSE(UnwindRule().leads_on_from(0x1234));
}

TEST(UnwindRule, WhatDoesNotFitIsOther) {
    for (const UnwindRule rule : {UnwindRule::of(0x1234, Kind::stack_pointer, UnwindRule::kMostBytes + 16, 0),
                                  UnwindRule::of(0x1234, Kind::stack_pointer, 24, 0),
                                  UnwindRule::of(0x1234, Kind::frame_pointer, 16, UnwindRule::kMostSaved + 8),
                                  UnwindRule::of(0x1234, Kind::frame_pointer, 16, 4)}) {
        EXPECT_TRUE(rule.is_of(0x1234));
        EXPECT_EQ(rule.kind(), Kind::other);
    }
    // Addresses of nobody have none.
    const std::uintptr_t kernel = std::uintptr_t{1} << 47;
    EXPECT_FALSE(UnwindRule::of(kernel, Kind::end, 0, 0).is_of(kernel));
}

UnwindRule rule_for(std::uintptr_t pc) { return UnwindRule::of(pc, Kind::stack_pointer, 16 * (pc % 100 + 1), 0); }

TEST(UnwindRules, KnowsWhatItWasToldAndNothingElse) {
    UnwindRules rules;
    EXPECT_FALSE(rules.view());
    rules.add(UnwindRule());
    EXPECT_FALSE(rules.view()) << "that was none";
    constexpr std::uintptr_t kFirst = 0x555555554000, kStep = 23, kMany = 20'000;
    for (std::uintptr_t i = 0; i < kMany; ++i) {
        rules.add(rule_for(kFirst + i * kStep));
        rules.add(rule_for(kFirst + i * kStep));  // once more is nothing new
    }
    EXPECT_EQ(rules.size(), kMany);
    const UnwindRules::View view = rules.view();
    for (std::uintptr_t i = 0; i < kMany; ++i) {
        const std::uintptr_t pc = kFirst + i * kStep;
        ASSERT_TRUE(view.find(pc).is_of(pc));
        ASSERT_EQ(view.find(pc).bytes(), rule_for(pc).bytes());
        ASSERT_FALSE(view.find(pc + 1).is_of(pc + 1));
    }
}

TEST(UnwindRules, StartsAnewWhenItIsFull) {
    UnwindRules rules;
    constexpr std::uintptr_t kMost = std::uintptr_t{1} << UnwindRules::kMostBits;
    for (std::uintptr_t i = 1; i <= 2 * kMost; ++i) {
        rules.add(rule_for(i * 16));
        ASSERT_TRUE(rules.view().find(i * 16).is_of(i * 16)) << "the latest is there";
    }
    EXPECT_LE(rules.size(), kMost / 2 + 1);
}

TEST(UnwindRules, ForgetsWhatMayBeOthersByNow) {
    UnwindRules rules;
    constexpr std::uintptr_t kTold = 0x1000, kGuessed = 0x2000;
    const auto fill = [&] {
        rules.add(rule_for(kTold));
        rules.add(UnwindRule::of(kGuessed, Kind::guess, 16, 16));
    };
    const auto knows = [&](std::uintptr_t pc) { return rules.view().find(pc).is_of(pc); };
    rules.follow(0, 0);
    fill();
    rules.follow(0, 0);
    EXPECT_TRUE(knows(kTold) && knows(kGuessed));
    EXPECT_TRUE(rules.view().find(kTold).leads_on_from(kTold));
    EXPECT_FALSE(rules.view().find(kTold + 1).leads_on_from(kTold + 1));
    // Where code lay that nobody had tables of, an object may lie.
    rules.follow(1, 0);
    EXPECT_FALSE(knows(kGuessed));
    EXPECT_EQ(rules.size(), 1u);
    fill();
    EXPECT_TRUE(knows(kTold) && knows(kGuessed));
    rules.follow(1, 0);
    EXPECT_TRUE(knows(kTold) && knows(kGuessed));
    rules.follow(1, 1);
    EXPECT_FALSE(knows(kTold) || knows(kGuessed));
    EXPECT_EQ(rules.size(), 0u);
    rules.add(UnwindRule::of(kTold, Kind::other, 0, 0));
    EXPECT_TRUE(knows(kTold) && !rules.view().find(kTold).leads_on_from(kTold));
}

// What was true before something was unloaded is gone afterwards, also where another thread was about to copy it.
TEST(UnwindRules, NothingOldComesBackByGrowing) {
    for (std::uint64_t round = 1; round <= 50; ++round) {
        UnwindRules rules;
        std::atomic<bool> over{false};
        std::thread grower([&] {
            // So many that it grows some times.
            for (std::uintptr_t i = 1; i < 5000; ++i) rules.add(rule_for(0x100000 + 16 * i));
            over = true;
        });
        for (std::uintptr_t i = 1; i < 100; ++i) rules.add(rule_for(16 * i));
        while (rules.size() < 200 * round % 3000 && !over) {
        }
        rules.follow(0, round);
        grower.join();
        for (std::uintptr_t i = 1; i < 100; ++i) ASSERT_FALSE(rules.view().find(16 * i).is_of(16 * i)) << round;
    }
}

// Whoever looks meanwhile sees a rule as a whole or none, whatever grows or is forgotten.
TEST(UnwindRules, ManyThreadsTellAndAsk) {
    UnwindRules rules;
    std::atomic<bool> wrong{false};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (std::uintptr_t i = 1; i < 30'000; ++i) {
                const std::uintptr_t pc = (i * 7 + t * 11) % 9000 * 32 + 32;
                rules.add(rule_for(pc));
                const UnwindRules::View view = rules.view();
                if (!view) continue;  // another thread makes the first table
                const UnwindRule rule = view.find(pc);
                if (rule.is_of(pc) && rule.bytes() != rule_for(pc).bytes()) wrong = true;
                if (i % 5000 == 0) rules.forget();
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    EXPECT_FALSE(wrong);
    EXPECT_GT(rules.size(), 0u);
    // However many have forgotten the same.
    rules.forget();
    EXPECT_EQ(rules.size(), 0u);
    rules.add(rule_for(64));
    EXPECT_EQ(rules.size(), 1u);
}

}  // namespace
}  // namespace hakmem
