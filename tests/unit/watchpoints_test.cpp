#include "diag/watchpoints.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "diag/trap_handler.h"

namespace hakmem {
namespace {

char bytes[256];
std::atomic<int> hits{0};
std::atomic<std::uintptr_t> where{0};
std::atomic<pid_t> who{0};

std::uintptr_t at(int index) { return reinterpret_cast<std::uintptr_t>(bytes + index); }

// Not a builtin: the write is to happen here.
[[gnu::noinline]] void write_to(int index) { *reinterpret_cast<volatile char *>(at(index)) = 1; }

class WatchpointsTest : public ::testing::Test {
  protected:
    void SetUp() override {
        if (!Watchpoint::available()) GTEST_SKIP() << "the kernel gives no watchpoints";
        set_watchpoint_hit([](std::uintptr_t address, std::uintptr_t, std::uintptr_t) {
            ++hits;
            where = address;
            who = gettid();
        });
        install_trap_handler();
        hits = 0;
    }
};

TEST_F(WatchpointsTest, FiresOnTheByteAndNoOther) {
    Watchpoint point;
    ASSERT_TRUE(point.open(0, Watchpoint::Heirs::none));
    write_to(100);
    EXPECT_EQ(hits, 0);
    ASSERT_TRUE(point.move(at(100)));
    write_to(99);
    write_to(101);
    EXPECT_EQ(hits, 0);
    write_to(100);
    EXPECT_EQ(hits, 1);
    EXPECT_EQ(where, at(100));
    std::memset(bytes, 0, sizeof bytes);
    EXPECT_EQ(hits, 2);
    ASSERT_TRUE(point.move(0));
    write_to(100);
    EXPECT_EQ(hits, 2);
    point.close();
    EXPECT_FALSE(point.move(at(100)));
    write_to(100);
    EXPECT_EQ(hits, 2);
}

TEST_F(WatchpointsTest, OneThreadsOwn) {
    Watchpoint point;
    ASSERT_TRUE(point.open(0, Watchpoint::Heirs::none));
    ASSERT_TRUE(point.move(at(10)));
    std::thread([] { write_to(10); }).join();
    EXPECT_EQ(hits, 0);
    write_to(10);
    EXPECT_EQ(hits, 1);
    point.close();
}

TEST_F(WatchpointsTest, SharedByThreadsThatAreThereAndThatCome) {
    std::atomic<int> step{0};
    std::atomic<pid_t> early_id{0};
    std::thread early([&] {
        early_id = gettid();
        step = 1;
        while (step != 2) std::this_thread::yield();
        write_to(20);
        step = 3;
    });
    while (step != 1) std::this_thread::yield();
    SharedWatchpoints points;
    ASSERT_TRUE(points.open());
    ASSERT_TRUE(points.move(0, at(20)));
    ASSERT_TRUE(points.move(1, at(30)));
    step = 2;
    while (step != 3) std::this_thread::yield();
    EXPECT_EQ(hits, 1);
    EXPECT_EQ(who, early_id);
    early.join();
    std::thread([&] {
        write_to(30);
        EXPECT_EQ(who, gettid());
    }).join();
    EXPECT_EQ(hits, 2);
    // Moved on: also in a thread that was created since.
    ASSERT_TRUE(points.move(1, at(40)));
    write_to(30);
    EXPECT_EQ(hits, 2);
    points.close();
    write_to(20);
    EXPECT_EQ(hits, 2);
}

TEST_F(WatchpointsTest, AForkedChildIsNotWatched) {
    SharedWatchpoints points;
    ASSERT_TRUE(points.open());
    ASSERT_TRUE(points.move(0, at(50)));
    const pid_t child = fork();
    if (child == 0) {
        write_to(50);
        _exit(hits == 0 ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    points.close();
}

// A daemon closes every descriptor that it does not know; the number may be another file's afterwards.
TEST_F(WatchpointsTest, DescriptorsThatTheProgramClosed) {
    Watchpoint point;
    ASSERT_TRUE(point.open(0, Watchpoint::Heirs::none));
    ASSERT_TRUE(point.move(at(60)));
    constexpr int kEnd = 1024;
    int ours = -1;
    char target[64];
    for (int fd = 3; fd < kEnd; ++fd) {
        const std::string link = "/proc/self/fd/" + std::to_string(fd);
        const ssize_t length = readlink(link.c_str(), target, sizeof target - 1);
        if (length > 0 && std::string(target, static_cast<std::size_t>(length)) == "anon_inode:[perf_event]") ours = fd;
    }
    ASSERT_GE(ours, 3);
    const int other = open("/dev/null", O_RDONLY);
    ASSERT_EQ(dup2(other, ours), ours);
    EXPECT_FALSE(point.move(at(61)));
    point.close();
    EXPECT_NE(fcntl(ours, F_GETFD), -1) << "somebody else's file was closed";
    close(ours);
    close(other);
}

}  // namespace
}  // namespace hakmem
