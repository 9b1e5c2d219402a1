#include "core/guarded_pages.h"

#include <gtest/gtest.h>
#include <setjmp.h>
#include <signal.h>

#include <cstring>
#include <vector>

namespace hakmem {
namespace {

sigjmp_buf back;
volatile std::uintptr_t fault_address;

void on_fault(int, siginfo_t *info, void *) {
    fault_address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    siglongjmp(back, 1);
}

// True if the byte can't be read; the fault is then at it.
bool out_of_bounds(std::uintptr_t address) {
    struct sigaction action {};
    struct sigaction before {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before);
    volatile bool faulted = true;
    if (sigsetjmp(back, 1) == 0) {
        *reinterpret_cast<volatile char *>(address);
        faulted = false;
    }
    sigaction(SIGSEGV, &before, nullptr);
    return faulted;
}

std::uintptr_t user_of(const Span *span) { return span->start + span->user_offset; }

TEST(GuardedPages, CatchesBothEndsAndTheFreedBlock) {
    for (const std::size_t bytes : {1u, 16u, 100u, 4096u, 4097u, 20000u}) {
        for (const bool at_end : {false, true}) {
            Span *span = guarded_pages.allocate(bytes, 16, at_end);
            ASSERT_NE(span, nullptr);
            const std::uintptr_t user = user_of(span);
            EXPECT_EQ(user % 16, 0u);
            std::memset(pointer_to(user), 'x', bytes);
            EXPECT_TRUE(out_of_bounds(span->end()));
            EXPECT_TRUE(out_of_bounds(span->start - 1));
            if (at_end) {
                EXPECT_LT(span->end() - user - bytes, 16u);
            }
            EXPECT_EQ(GuardedPages::accused(span->end()), span);
            EXPECT_EQ(GuardedPages::accused(span->start - 1), span);
            GuardedPages::forbid(span);
            EXPECT_TRUE(out_of_bounds(user));
            EXPECT_EQ(GuardedPages::accused(user), span);
            EXPECT_TRUE(GuardedPages::permit(user));
            EXPECT_FALSE(out_of_bounds(user));
            GuardedPages::forbid(span);
            guarded_pages.recycle(span);
        }
    }
}

TEST(GuardedPages, AccusesTheNearestInUse) {
    Span *left = guarded_pages.allocate(100, 16, true);
    Span *right = guarded_pages.allocate(100, 16, false);
    ASSERT_EQ(right->start, left->end() + os::kPageBytes);
    EXPECT_EQ(GuardedPages::accused(left->end() + 10), left);
    EXPECT_EQ(GuardedPages::accused(right->start - 10), right);
    GuardedPages::forbid(left);
    EXPECT_EQ(GuardedPages::accused(left->end() + 10), right);
    EXPECT_EQ(GuardedPages::accused(1 << 20), nullptr);
    GuardedPages::forbid(right);
    guarded_pages.recycle(left);
    guarded_pages.recycle(right);
}

TEST(GuardedPages, LargeAlignmentsAndLimits) {
    Span *span = guarded_pages.allocate(100, 4096, true);
    ASSERT_NE(span, nullptr);
    EXPECT_EQ(user_of(span) % 4096, 0u);
    guarded_pages.recycle(span);
    EXPECT_EQ(guarded_pages.allocate(GuardedPages::kMostBytes + 1, 16, true), nullptr);
    EXPECT_EQ(guarded_pages.allocate(1, 8192, true), nullptr);
    std::vector<Span *> all;
    for (unsigned i = 0; i < GuardedPages::kMost; ++i) {
        all.push_back(guarded_pages.allocate(16, 16, true));
        ASSERT_NE(all.back(), nullptr) << i;
    }
    EXPECT_EQ(guarded_pages.allocate(16, 16, true), nullptr);
    for (Span *each : all) {
        GuardedPages::forbid(each);
        guarded_pages.recycle(each);
    }
}

}  // namespace
}  // namespace hakmem
