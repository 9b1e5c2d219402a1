#include "diag/own_stack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <thread>

namespace hakmem {
namespace {

[[gnu::noinline]] std::uintptr_t frame_here() { return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)); }

[[gnu::noinline]] std::uintptr_t frame_below(std::size_t bytes) {
    volatile char *room = static_cast<char *>(__builtin_alloca(bytes));
    for (std::size_t i = 0; i < bytes; i += 512) room[i] = 1;
    return frame_here();
}

void expect_readable(std::uintptr_t begin, std::uintptr_t end) {
    std::uintptr_t sum = 0;
    for (std::uintptr_t at = begin; at < end; at += sizeof at) sum += *reinterpret_cast<volatile std::uintptr_t *>(at);
    asm volatile("" : : "r"(sum));
}

void expect_reached() {
    OwnStack stack;
    const std::uintptr_t frame = frame_here();
    EXPECT_FALSE(stack.covers(frame)) << "nobody has looked";
    ASSERT_TRUE(stack.reaches(frame));
    EXPECT_TRUE(stack.covers(frame));
    EXPECT_GT(stack.end(), frame);
    const std::uintptr_t end = stack.end();
    expect_readable(frame, end);

    const std::uintptr_t deeper = frame_below(100'000);
    EXPECT_FALSE(stack.covers(deeper));
    EXPECT_TRUE(stack.reaches(deeper));
    EXPECT_TRUE(stack.covers(frame) && stack.covers(deeper));
    EXPECT_EQ(stack.end(), end);
    EXPECT_FALSE(stack.covers(end));
}

TEST(OwnStack, IsReadableUpToItsEnd) { expect_reached(); }

TEST(OwnStack, OfAThreadToo) { std::thread(expect_reached).join(); }

// However deep the first frame is that anybody looks at.
void expect_reached_from_below() {
    OwnStack stack;
    const std::uintptr_t frame = frame_below(1'500'000);
    unsigned calls = 1;
    while (!stack.reaches(frame)) ASSERT_LT(++calls, 10u);
    EXPECT_GT(calls, 1u) << "not all pages at once";
    EXPECT_TRUE(stack.covers(frame_here()));
}

TEST(OwnStack, IsReachedFromFarBelow) { expect_reached_from_below(); }

TEST(OwnStack, IsReachedFromFarBelowInAThread) { std::thread(expect_reached_from_below).join(); }

ucontext_t back, there;
OwnStack stack;

// Below a thread's record there may be other memory than its stack, up to there or not.
TEST(OwnStack, ACoroutinesIsNoHindrance) {
    stack = {};
    constexpr std::size_t kBytes = 256 << 10;
    void *memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(memory, MAP_FAILED);
    getcontext(&there);
    there.uc_stack = {memory, 0, kBytes};
    there.uc_link = &back;
    makecontext(
        &there,
        [] {
            for (unsigned i = 0; i < 1000; ++i) stack.reaches(frame_here());
            if (stack.covers(frame_here())) expect_readable(frame_here(), stack.end());
        },
        0);
    swapcontext(&back, &there);
    // Back here it is what it was.
    EXPECT_TRUE(stack.reaches(frame_here()));
    EXPECT_TRUE(stack.covers(frame_here()));
    munmap(memory, kBytes);
}

}  // namespace
}  // namespace hakmem
