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

void give_back(Span *span) {
    ASSERT_TRUE(GuardedPages::claim(span));
    guarded_pages.forbid(span);
}

TEST(GuardedPages, CatchesBothEndsAndTheFreedBlock) {
    for (const std::size_t bytes : {1u, 16u, 100u, 4096u, 4097u, 20000u, 1u << 20, (1u << 20) + 1, 5u << 20}) {
        for (const bool at_end : {false, true}) {
            Span *span = guarded_pages.allocate(bytes, 16, at_end);
            ASSERT_NE(span, nullptr);
            const std::uintptr_t user = user_of(span);
            EXPECT_EQ(user % 16, 0u);
            EXPECT_EQ(page_map.span_of(user + bytes / 2), span);
            std::memset(pointer_to(user), 'x', bytes);
            EXPECT_TRUE(out_of_bounds(span->end()));
            EXPECT_TRUE(out_of_bounds(span->start - 1));
            if (at_end) {
                EXPECT_LT(span->end() - user - bytes, 16u);
            }
            EXPECT_EQ(GuardedPages::accused(span->end()), span);
            EXPECT_EQ(GuardedPages::accused(span->start - 1), span);
            give_back(span);
            EXPECT_FALSE(GuardedPages::claim(span));
            EXPECT_TRUE(out_of_bounds(user));
            EXPECT_EQ(GuardedPages::accused(user), span);
            EXPECT_TRUE(GuardedPages::permit(user));
            EXPECT_FALSE(out_of_bounds(user));
        }
    }
}

TEST(GuardedPages, ZeroBytesAreOutOfBounds) {
    Span *span = guarded_pages.allocate(0, 16, true);
    ASSERT_NE(span, nullptr);
    EXPECT_TRUE(out_of_bounds(user_of(span)));
    EXPECT_EQ(page_map.span_of(user_of(span)), span);
    EXPECT_EQ(GuardedPages::accused(user_of(span)), span);
    give_back(span);
}

TEST(GuardedPages, AccusesTheNearest) {
    Span *left = guarded_pages.allocate(100, 16, true);
    Span *right = guarded_pages.allocate(100, 16, false);
    ASSERT_EQ(right->start, left->end() + os::kPageBytes);
    EXPECT_EQ(GuardedPages::accused(left->end() + 10), left);
    EXPECT_EQ(GuardedPages::accused(right->start - 10), right);
    give_back(left);
    EXPECT_EQ(GuardedPages::accused(left->end() + 100), right);  // rather one in use
    EXPECT_EQ(GuardedPages::accused(right->end() + 50 * os::kPageBytes), right);
    EXPECT_EQ(GuardedPages::accused(1 << 20), nullptr);
    give_back(right);
}

// What was freed stays closed while others come and go; what comes into a place that was let through is zero.
TEST(GuardedPages, FirstFreedFirstReused) {
    Span *early = guarded_pages.allocate(100, 16, true);
    const std::uintptr_t user = user_of(early);
    give_back(early);
    for (unsigned i = 0; i + 1 < GuardedPages::kMostFreed; ++i) give_back(guarded_pages.allocate(100, 16, true));
    EXPECT_TRUE(out_of_bounds(user));
    EXPECT_EQ(GuardedPages::accused(user), early);
    // Its own page and the one behind: either may be the next block's.
    const std::uintptr_t behind = early->end();
    for (const std::uintptr_t at : {user, behind}) {
        ASSERT_TRUE(GuardedPages::permit(at));
        std::memset(pointer_to(at), 'x', 50);
    }
    give_back(guarded_pages.allocate(100, 16, true));
    EXPECT_EQ(page_map.span_of(user), nullptr);
    bool reused = false;
    for (unsigned i = 0; i < 4 * GuardedPages::kMostFreed && !reused; ++i) {
        Span *span = guarded_pages.allocate(100, 16, true);
        ASSERT_NE(span, nullptr);
        for (const std::uintptr_t at : {user, behind}) {
            if (at < span->start || at >= span->end()) continue;
            reused = true;
            EXPECT_EQ(*pointer_to<char>(at), 0);
        }
        give_back(span);
    }
    EXPECT_TRUE(reused);
}

TEST(GuardedPages, LargeAlignmentsAndLimits) {
    Span *span = guarded_pages.allocate(100, 4096, true);
    ASSERT_NE(span, nullptr);
    EXPECT_EQ(user_of(span) % 4096, 0u);
    give_back(span);
    EXPECT_EQ(guarded_pages.allocate(1, 8192, true), nullptr);
    EXPECT_EQ(guarded_pages.allocate(SIZE_MAX / 2, 16, true), nullptr);
    ASSERT_EQ(guarded_pages.in_use(), 0u);
    std::vector<Span *> all;
    for (unsigned i = 0; i < GuardedPages::kMost; ++i) {
        all.push_back(guarded_pages.allocate(16, 16, true));
        ASSERT_NE(all.back(), nullptr) << i;
    }
    EXPECT_EQ(guarded_pages.in_use(), GuardedPages::kMost);
    EXPECT_EQ(guarded_pages.allocate(16, 16, true), nullptr);
    for (Span *each : all) give_back(each);
}

}  // namespace
}  // namespace hakmem
