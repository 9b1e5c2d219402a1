#include "diag/stack_memo.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <iterator>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

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

struct Seen {
    void *thread = nullptr;
    bool left_fresh = false, right_fresh = false;
};

Seen look_and_leave() {
    Seen seen{__builtin_thread_pointer(), false, false};
    memo.forget();
    memo = {};  // as a thread's own is when it starts
    memo.take_left();
    left(1, seen.left_fresh);
    right(2, seen.right_fresh);
    memo.leave();
    return seen;
}

Seen in_a_thread() {
    Seen seen;
    std::thread([&] { seen = look_and_leave(); }).join();
    return seen;
}

// The C library keeps the stacks of threads that have ended.
TEST(StackMemo, TheNextThreadOnTheSameStackGoesOn) {
    StackMemo::forget_left();
    Seen seen[4];
    for (Seen &one : seen) one = in_a_thread();
    EXPECT_TRUE(seen[0].left_fresh && seen[0].right_fresh);
    for (const Seen &one : seen) {
        if (one.thread != seen[0].thread) GTEST_SKIP() << "not on the same stack";
    }
    for (unsigned i = 1; i < std::size(seen); ++i) EXPECT_FALSE(seen[i].left_fresh || seen[i].right_fresh) << i;

    StackMemo::forget_left();
    EXPECT_TRUE(in_a_thread().right_fresh);
}

TEST(StackMemo, AnotherStackGetsNothingOfIt) {
    StackMemo::forget_left();
    const Seen first = in_a_thread();
    const Seen here = look_and_leave();
    ASSERT_NE(first.thread, here.thread);
    EXPECT_TRUE(here.left_fresh && here.right_fresh);
    const Seen again = in_a_thread();
    if (again.thread != first.thread) GTEST_SKIP() << "not on the same stack";
    EXPECT_FALSE(again.right_fresh);
    StackMemo::forget_left();
}

// All of them there at once, so that each has a stack of its own; one after the other.
template <class F>
void in_threads(unsigned count, F f) {
    std::vector<std::thread> threads;
    std::atomic<unsigned> there{0};
    std::mutex turn;
    for (unsigned i = 0; i < count; ++i)
        threads.emplace_back([&] {
            ++there;
            while (there < count) std::this_thread::yield();
            const std::lock_guard<std::mutex> lock(turn);
            f();
        });
    for (std::thread &thread : threads) thread.join();
}

// The child of a fork is one thread, with other numbers for its stacks.
TEST(StackMemo, AForksChildHasNothingOfIt) {
    StackMemo::forget_left();
    const Seen first = in_a_thread();
    StackMemo::before_fork();
    const pid_t child = fork();
    if (child == 0) {
        memo.restart_after_fork();
        const Seen there = in_a_thread();
        _exit(there.left_fresh && there.right_fresh ? 0 : 1);
    }
    StackMemo::after_fork_in_parent();
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    const Seen here = in_a_thread();
    EXPECT_TRUE(here.thread != first.thread || !here.left_fresh) << "the parent has it still";
    StackMemo::forget_left();
}

// Nobody knows how much of a stack of its own kind another one has at the same place.
TEST(StackMemo, FramesOnOtherStacksAreNotLeft) {
    StackMemo::forget_left();
    constexpr std::size_t kBytes = 64 << 10;
    void *stack = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(stack, MAP_FAILED);
    static bool fresh[2];
    static ucontext_t back, there;
    const auto look_there = [&] {
        std::thread([&] {
            memo = {};
            memo.take_left();
            for (bool &one : fresh) {
                getcontext(&there);
                there.uc_stack = {stack, 0, kBytes};
                there.uc_link = &back;
                makecontext(
                    &there, [] { left(1, *(fresh[0] ? fresh + 1 : fresh)); }, 0);
                one = false;
                swapcontext(&back, &there);
            }
            memo.leave();
        }).join();
    };
    look_there();
    EXPECT_TRUE(fresh[0]);
    EXPECT_FALSE(fresh[1]) << "while the thread lives, it is known again";
    look_there();
    EXPECT_TRUE(fresh[0]);
    munmap(stack, kBytes);
    StackMemo::forget_left();
}

// More threads end than are expected back: the latest are remembered.
TEST(StackMemo, KeepsTheLatestOfMany) {
    StackMemo::forget_left();
    constexpr unsigned kThreads = 40;
    Seen last;
    void *wanted = nullptr;  // nobody in particular
    const auto look = [&] {
        if (wanted == nullptr || wanted == __builtin_thread_pointer()) last = look_and_leave();
    };
    in_threads(kThreads, look);
    EXPECT_TRUE(last.left_fresh && last.right_fresh);
    wanted = std::exchange(last, {}).thread;
    in_threads(kThreads, look);
    StackMemo::forget_left();
    if (last.thread == nullptr) GTEST_SKIP() << "not on the same stack";
    EXPECT_FALSE(last.right_fresh);
}

}  // namespace
}  // namespace hakmem
