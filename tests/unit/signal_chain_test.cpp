#include "diag/signal_chain.h"

#include <gtest/gtest.h>

namespace hakmem {
namespace {

int signal_seen;
void *context_seen;

void plain(int signal) { signal_seen = signal; }
void with_information(int signal, siginfo_t *, void *context) {
    signal_seen = signal;
    context_seen = context;
}
void ours(int, siginfo_t *, void *) {}

struct SignalChain : testing::Test {
    void SetUp() override {
        signal_seen = 0;
        context_seen = nullptr;
    }
    siginfo_t information{};
    int context = 0;
};

TEST_F(SignalChain, PassesOnToEitherKindOfHandler) {
    struct sigaction next {};
    next.sa_handler = plain;
    EXPECT_TRUE(pass_on(next, SIGUSR1, &information, &context));
    EXPECT_EQ(signal_seen, SIGUSR1);
    next.sa_sigaction = with_information;
    next.sa_flags = SA_SIGINFO;
    EXPECT_TRUE(pass_on(next, SIGUSR2, &information, &context));
    EXPECT_EQ(signal_seen, SIGUSR2);
    EXPECT_EQ(context_seen, &context);
}

TEST_F(SignalChain, SaysWhereThereIsNobodyToPassItOnTo) {
    struct sigaction next {};
    EXPECT_FALSE(pass_on(next, SIGUSR1, &information, &context));
    next.sa_handler = SIG_IGN;
    EXPECT_FALSE(pass_on(next, SIGUSR1, &information, &context));
}

TEST_F(SignalChain, IsNeverPutInFrontOfItself) {
    struct sigaction old {
    }, before{}, action{};
    old.sa_handler = plain;
    ASSERT_EQ(sigaction(SIGUSR1, &old, nullptr), 0);
    action.sa_sigaction = ours;
    action.sa_flags = SA_SIGINFO;
    EXPECT_TRUE(put_in_front(SIGUSR1, action, before));
    EXPECT_TRUE(put_in_front(SIGUSR1, action, before));
    EXPECT_EQ(before.sa_handler, plain);
    EXPECT_FALSE(put_in_front(SIGKILL, action, before));
    signal(SIGUSR1, SIG_DFL);
}

}  // namespace
}  // namespace hakmem
