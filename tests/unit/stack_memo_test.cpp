#include "diag/stack_memo.h"

#include <gtest/gtest.h>

#include <utility>

namespace hakmem {
namespace {

StackMemo memo;

// As the watcher uses it: what was remembered, else a backtrace under the number `next`.
[[gnu::noinline]] StackId stack_of(StackId next, bool &fresh) {
    const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const StackId known = memo.find(frame);
    fresh = known == 0;
    if (known != 0) return known;
    backtrace::Trace trace;
    backtrace::capture(trace, 24);
    // The test's own frames are in it: from the caller of this function on they are the program's.
    backtrace::Trace callers;
    for (unsigned i = 0; i < trace.frames; ++i) callers.pc[callers.frames++] = trace.pc[i];
    while (callers.frames > 0 && callers.pc[0] != reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))) {
        --callers.frames;
        for (unsigned i = 0; i < callers.frames; ++i) callers.pc[i] = callers.pc[i + 1];
    }
    memo.remember(frame, callers, next);
    return next;
}

[[gnu::noinline]] StackId left(StackId next, bool &fresh) {
    const StackId id = stack_of(next, fresh);
    asm volatile("");
    return id;
}

[[gnu::noinline]] StackId right(StackId next, bool &fresh) {
    const StackId id = stack_of(next, fresh);
    asm volatile("");
    return id;
}

[[gnu::noinline]] StackId deeper(StackId next, bool &fresh, int depth) {
    const StackId id = depth == 0 ? left(next, fresh) : deeper(next, fresh, depth - 1);
    asm volatile("");
    return id;
}

TEST(StackMemo, KnowsAStackAgainAndNoOther) {
    memo.forget();
    StackId first[3] = {};
    int remembered = 0;
    for (int round = 0; round < 3; ++round) {
        // One loop and one line for each, so that the stacks are the same every time.
        bool fresh = false;
        const StackId a = left(10 + static_cast<StackId>(round), fresh);
        remembered += fresh ? 0 : 1;
        const StackId b = right(20 + static_cast<StackId>(round), fresh);
        remembered += fresh ? 0 : 1;
        const StackId c = deeper(30 + static_cast<StackId>(round), fresh, 4);
        remembered += fresh ? 0 : 1;
        if (round == 0) {
            first[0] = a;
            first[1] = b;
            first[2] = c;
            EXPECT_EQ(remembered, 0);
        } else {
            EXPECT_EQ(a, first[0]);
            EXPECT_EQ(b, first[1]);
            EXPECT_EQ(c, first[2]);
        }
    }
    EXPECT_EQ(remembered, 6);
    memo.forget();
    bool fresh = false;
    left(99, fresh);
    EXPECT_TRUE(fresh);
    memo.forget();
}

template <int Site>
[[gnu::noinline]] bool known_at_site() {
    bool fresh = false;
    stack_of(100 + Site, fresh);
    asm volatile("" : : "i"(Site));
    return !fresh;
}

// A server's handler has its frame at the same place for each of its calls.
TEST(StackMemo, KnowsManyCallSitesOfOneFunction) {
    constexpr int kSites = 40, kRounds = 3;
    memo.forget();
    int known = 0;
    for (int round = 0; round < kRounds; ++round) {
        [&]<int... Site>(std::integer_sequence<int, Site...>) { ((known += known_at_site<Site>() ? 1 : 0), ...); }
        (std::make_integer_sequence<int, kSites>());
    }
    // Chance may put more of them into one bucket than it holds.
    EXPECT_GE(known, (kRounds - 1) * kSites * 9 / 10);
    memo.forget();
}

}  // namespace
}  // namespace hakmem
