#include "diag/stack_walk.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include "diag/backtrace.h"
#include "diag/own_stack.h"
#include "diag/segment_writer.h"
#include "diag/stack_memory.h"
#include "diag/stack_table.h"

namespace hakmem {
namespace {

using backtrace::Trace;

// What a thread has at `guard`, for all tests; the stacks that it has seen by number.
struct Thread {
    Segment segment = create_private_segment(nullptr);
    ModuleMap modules;
    std::unique_ptr<StackTable> table = std::make_unique<StackTable>();
    OwnStack stack;
    StackMemory memory;
    unsigned depth = 32;

    unsigned looked = 0, walked = 0, same = 0;  // stacks; of these, how many were walked; as the unwinder does
    unsigned wrong = 0, known = 0;              // by memory: another stack, that one
    std::uintptr_t frame = 0;                   // of the last look

    Thread() {
        modules.start(segment.modules(), &segment.header().modules_used);
        table->start(segment);
        memory.start();
    }
    ~Thread() { memory.forget(); }
};
Thread *thread = nullptr;

// One look at the caller's stack, by all ways there are.
[[gnu::noinline]] void look() {
    const auto frame = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
    const auto caller = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
    ++thread->looked;
    thread->frame = frame;
    StackId known = thread->memory.find(frame);
    if (known == 0) thread->memory.walk(*thread->table, frame, thread->stack, thread->depth, known);
    Trace walked;
    if (!thread->stack.reaches(frame) ||
        !learn_stack(walked, frame, thread->stack.end(), thread->depth, backtrace::Pace::fast, thread->modules))
        return;
    Trace again;
    const Return::Step found = walk_stack(again, frame, thread->stack.end(), thread->depth);
    EXPECT_TRUE(found == Return::Step::done || found == Return::Step::outermost) << "all is known now";
    EXPECT_EQ(again.frames, walked.frames);
    thread->memory.follow(thread->modules.loads() + thread->modules.unloads());
    ++thread->walked;
    Trace unwound;
    backtrace::capture(unwound, backtrace::kMostFrames);
    unsigned first = 0;
    while (first < unwound.frames && unwound.pc[first] != caller) ++first;
    const unsigned frames = std::min(unwound.frames - first, thread->depth);
    if (walked.frames == std::min(frames, thread->depth) &&
        std::memcmp(walked.pc, unwound.pc + first, frames * sizeof walked.pc[0]) == 0) {
        ++thread->same;
    }
    const StackId id = thread->table->intern(walked.pc, walked.frames, thread->modules);
    if (known == id) ++thread->known;
    if (known != 0 && known != id) ++thread->wrong;
    asm volatile("");
}

class StackWalkTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!kWalksStacks) GTEST_SKIP() << "not on this processor";
        own_ = std::make_unique<Thread>();
        thread = own_.get();
    }
    void TearDown() override { thread = nullptr; }

    // Every stack was walked, as the unwinder does, and the later ones were known.
    void expect_all(unsigned rounds) const {
        EXPECT_GT(thread->looked, 0u);
        EXPECT_EQ(thread->walked, thread->looked);
        EXPECT_EQ(thread->same, thread->looked);
        EXPECT_EQ(thread->wrong, 0u);
        EXPECT_GE(thread->known, thread->looked / rounds * (rounds - 1));
    }

    std::unique_ptr<Thread> own_;
};

constexpr unsigned kRounds = 4;

template <class F>
[[gnu::noinline]] void repeat(F f) {
    // One call, not four.
    for (unsigned i = 0; i < kRounds; ++i) {
        f();
        asm volatile("" : "+r"(i));
    }
}

[[gnu::noinline]] void plain() {
    look();
    asm volatile("");
}
[[gnu::noinline]] void recursive(unsigned levels) {
    if (levels == 0)
        look();
    else
        recursive(levels - 1);
    asm volatile("");
}
// The frame pointer tells where its frame ends, as it is of any size.
[[gnu::noinline]] void of_any_size(std::size_t bytes) {
    volatile char *room = static_cast<char *>(__builtin_alloca(bytes));
    room[0] = 1;
    look();
    room[bytes - 1] = 1;
}
template <std::size_t Bytes>
[[gnu::noinline]] void large() {
    char room[Bytes];
    asm volatile("" : : "r"(room) : "memory");
    look();
    asm volatile("" : : "r"(room) : "memory");
}
[[gnu::noinline]] void between(void (*inner)(std::size_t), std::size_t bytes) {
    inner(bytes);
    asm volatile("");
}
[[gnu::noinline, noreturn]] void does_not_return(std::jmp_buf &back) {
    look();
    std::longjmp(back, 1);
}

TEST_F(StackWalkTest, IsAsTheUnwinders) {
    repeat([] { plain(); });
    repeat([] { recursive(3); });
    repeat([] { of_any_size(1000); });
    repeat([] { between(of_any_size, 300); });
    repeat([] { between([](std::size_t bytes) { between(of_any_size, bytes); }, 64); });
    repeat([] { large<4000>(); });
    repeat([] { large<15'000>(); });
    repeat([] { large<17'000>(); });
    repeat([] { large<30'000>(); });
    repeat([] {
        std::function<void()> function = [] { look(); };
        function();
    });
    repeat([] {
        int numbers[] = {2, 1};
        std::qsort(numbers, 2, sizeof numbers[0], [](const void *one, const void *other) {
            look();
            return *static_cast<const int *>(one) - *static_cast<const int *>(other);
        });
    });
    repeat([] {
        try {
            throw std::runtime_error("");
        } catch (const std::exception &) {
            look();
        }
    });
    repeat([] {
        std::jmp_buf back;
        if (setjmp(back) == 0) does_not_return(back);
    });
    expect_all(kRounds);
}

TEST_F(StackWalkTest, KeepsToTheDepth) {
    for (const unsigned depth : {1u, 2u, 7u, 31u, 64u}) {
        thread->depth = depth;
        thread->memory.forget();
        thread->memory.start();
        repeat([] { recursive(5); });
        repeat([] { recursive(40); });
    }
    expect_all(kRounds);
}

TEST_F(StackWalkTest, OfAThread) {
    std::thread([] { repeat([] { recursive(2); }); }).join();
    expect_all(kRounds);
}

// Frames of more bytes than a rule holds, and signal frames: the unwinder's.
TEST_F(StackWalkTest, LeavesTheRestToTheUnwinder) {
    repeat([] { large<40'000>(); });
    repeat([] { large<70'000>(); });
    repeat([] { large<200'000>(); });
    EXPECT_EQ(thread->looked, 3 * kRounds);
    EXPECT_EQ(thread->walked, 0u);
    std::signal(SIGUSR1, [](int) { look(); });
    repeat([] { std::raise(SIGUSR1); });
    EXPECT_EQ(thread->looked, 4 * kRounds);
    EXPECT_EQ(thread->walked, 0u);
    EXPECT_EQ(thread->wrong, 0u);
    std::signal(SIGUSR1, SIG_DFL);
}

// Whatever was known is known no more.
TEST_F(StackWalkTest, ForgetsAndStartsAnew) {
    repeat([] { recursive(2); });
    const unsigned known = thread->known;
    thread->memory.forget();
    repeat([] { recursive(2); });
    EXPECT_EQ(thread->known, known);
    thread->memory.start();
    repeat([] { recursive(2); });
    EXPECT_EQ(thread->known, known + kRounds - 1);
    thread->memory.follow(thread->modules.loads() + thread->modules.unloads() + 1);
    repeat([] { recursive(2); });
    EXPECT_EQ(thread->wrong, 0u);
}

// Once nearly all numbers are taken, only the innermost addresses of a new stack count.
TEST_F(StackWalkTest, ShortStacksAreKnownToo) {
    for (std::uintptr_t i = 1; thread->table->used() < StackTable::kStages[0].most; ++i)
        thread->table->intern(&i, 1, thread->modules);
    repeat([] { recursive(20); });
    repeat([] { recursive(3); });
    expect_all(kRounds);
}

// What a compiler at run time makes, without tables.
TEST_F(StackWalkTest, OfCodeWithoutTables) {
    constexpr unsigned char kWithPointer[] = {0x55, 0x48, 0x89, 0xe5, 0xff, 0xd7, 0x5d, 0xc3};
    constexpr unsigned char kWithout[] = {0x48, 0x83, 0xec, 0x08, 0xff, 0xd7, 0x48, 0x83, 0xc4, 0x08, 0xc3};
    void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    auto *code = static_cast<unsigned char *>(memory);
    std::memcpy(code, kWithPointer, sizeof kWithPointer);
    std::memcpy(code + 64, kWithout, sizeof kWithout);
    using Calls = void (*)(void (*)());
    const auto with_pointer = reinterpret_cast<Calls>(code);
    repeat([with_pointer] { with_pointer(plain); });
    expect_all(kRounds);
    // Where its chain leads is up to whoever had the register before.
    const auto without = reinterpret_cast<Calls>(code + 64);
    repeat([without] { without(plain); });
    repeat([without] { of_any_size(100), without(plain); });
    EXPECT_EQ(thread->same, thread->walked);
    EXPECT_EQ(thread->wrong, 0u);
    munmap(memory, 4096);
}

// Calls of three functions with frames of different kinds, in an order that `random` tells.
[[gnu::noinline]] void tree(std::uint32_t random, unsigned levels);
[[gnu::noinline]] void branch_small(std::uint32_t random, unsigned levels) {
    tree(random, levels);
    asm volatile("");
}
[[gnu::noinline]] void branch_large(std::uint32_t random, unsigned levels) {
    char room[3000];
    asm volatile("" : : "r"(room) : "memory");
    tree(random, levels);
    asm volatile("" : : "r"(room) : "memory");
}
[[gnu::noinline]] void branch_of_any_size(std::uint32_t random, unsigned levels) {
    const std::size_t bytes = 64 + random % 5 * 48;
    volatile char *room = static_cast<char *>(__builtin_alloca(bytes));
    room[0] = 1;
    tree(random, levels);
    room[bytes - 1] = 1;
}
void tree(std::uint32_t random, unsigned levels) {
    const std::uint32_t next = random * 1664525u + 1013904223u;
    if (levels == 0) {
        look();
    } else if (random >> 30 == 0) {
        branch_large(next, levels - 1);
    } else if (random >> 30 == 1) {
        branch_of_any_size(next, levels - 1);
    } else {
        branch_small(next, levels - 1);
    }
    asm volatile("");
}

// Parts are shared, replaced, and met again at other places: never is one stack taken for another.
TEST_F(StackWalkTest, NoStackIsTakenForAnother) {
    for (unsigned round = 0; round < 4; ++round)
        for (std::uint32_t seed = 0; seed < 1500; ++seed) tree(seed % 300 * 2654435761u, seed % 23);
    EXPECT_EQ(thread->walked, thread->looked);
    EXPECT_EQ(thread->same, thread->looked);
    EXPECT_EQ(thread->wrong, 0u);
    EXPECT_GT(thread->known, thread->looked / 2);
}

[[gnu::noinline]] void stepwise(unsigned levels) {
    if (levels == 0)
        plain();
    else
        stepwise(levels - 1);
    asm volatile("");
}
[[gnu::noinline]] void below_large(unsigned levels) {
    char room[40'000];
    asm volatile("" : : "r"(room) : "memory");
    stepwise(levels);
    asm volatile("" : : "r"(room) : "memory");
}
[[gnu::noinline]] void padded(std::size_t bytes) {
    volatile char *room = static_cast<char *>(__builtin_alloca(bytes));
    room[0] = 1;
    plain();
    room[bytes - 1] = 1;
}
// A short stack and one that is cut off right before what has no rule, so that it is not whole: both with the same
// function at the same place.
[[gnu::noinline]] void short_and_cut(std::size_t shift, unsigned levels) {
    volatile char *room = static_cast<char *>(__builtin_alloca(shift));
    room[0] = 1;
    below_large(levels);
    const std::uintptr_t wanted = thread->frame;
    std::size_t bytes = 64;
    padded(bytes);
    bytes += thread->frame - wanted;
    for (unsigned i = 0; i < 6; ++i) {
        i % 2 == 0 ? padded(bytes) : below_large(levels);
        EXPECT_EQ(thread->frame, wanted);
        padded(bytes);
    }
    room[shift - 1] = 1;
}

TEST_F(StackWalkTest, WhatWasNotKeptLeavesOthersAlone) {
    constexpr unsigned kLevels = 4;
    thread->depth = kLevels + 3;
    std::thread([] {
        for (std::size_t shift = 16; shift < 4000; shift += 16) short_and_cut(shift, kLevels);
    }).join();
    EXPECT_EQ(thread->walked, thread->looked);
    EXPECT_EQ(thread->wrong, 0u);
}

// More frames than are remembered: the outermost are forgotten, and walked once more when it comes to them.
TEST_F(StackWalkTest, DeeperThanWhatIsRemembered) {
    for (const unsigned depth : {60u, 5u}) {
        thread->depth = depth;
        thread->memory.forget();
        thread->memory.start();
        for (unsigned levels = 0; levels < 3 * LastStack::kMostFrames; ++levels) recursive(levels);
        for (unsigned levels = 3 * LastStack::kMostFrames; levels-- > 0;) recursive(levels);
        std::uint32_t random = depth;
        for (unsigned i = 0; i < 600; ++i) {
            random = random * 1664525u + 1013904223u;
            const unsigned levels = (random >> 20) % (3 * LastStack::kMostFrames);
            tree(random % 7, levels);
            of_any_size(random >> 16 & 0xFFF0);
        }
    }
    EXPECT_LE(thread->looked - thread->walked, 20u) << "so much deeper at once that it takes some looks (own_stack.h)";
    EXPECT_EQ(thread->same, thread->walked);
    EXPECT_EQ(thread->wrong, 0u);
    EXPECT_GT(thread->known, thread->looked / 3);
}

// A handler has interrupted a walk: it goes without, and the walk is what it was.
TEST_F(StackWalkTest, ASignalMayComeAtAnyTime) {
    std::signal(SIGVTALRM, [](int) { recursive(2); });
    itimerval often{{0, 200}, {0, 200}};
    setitimer(ITIMER_VIRTUAL, &often, nullptr);
    for (std::uint32_t seed = 0; seed < 20'000; ++seed) tree(seed % 50 * 2654435761u, seed % 17);
    setitimer(ITIMER_VIRTUAL, std::unique_ptr<itimerval>(new itimerval{}).get(), nullptr);
    std::signal(SIGVTALRM, SIG_DFL);
    EXPECT_EQ(thread->wrong, 0u);
    EXPECT_GT(thread->known, thread->looked / 2);
}

}  // namespace
}  // namespace hakmem
