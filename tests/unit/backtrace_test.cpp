#include "diag/backtrace.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "diag/modules.h"
#include "diag/segment_writer.h"

namespace hakmem {
namespace {

using backtrace::Trace;

// The compiler must not turn these into jumps, nor merge them.
__attribute__((noinline)) int inner(Trace &trace, unsigned depth) {
    backtrace::capture(trace, depth);
    asm volatile("");
    return 1;
}
__attribute__((noinline)) int outer(Trace &trace, unsigned depth) {
    const int value = inner(trace, depth) + 1;
    asm volatile("");
    return value;
}
__attribute__((noinline)) int deep(Trace &trace, unsigned depth, unsigned levels) {
    const int value = levels == 0 ? inner(trace, depth) : deep(trace, depth, levels - 1) + 1;
    asm volatile("");
    return value;
}

bool is_in(std::uintptr_t pc, int (*function)(Trace &, unsigned)) {
    const auto begin = reinterpret_cast<std::uintptr_t>(function);
    return pc > begin && pc < begin + 200;
}

TEST(Backtrace, FindsTheCallersInnermostFirst) {
    Trace trace;
    EXPECT_EQ(outer(trace, 32), 2);
    ASSERT_GE(trace.frames, 3u);
    unsigned at = 0;
    while (at < trace.frames && !is_in(trace.pc[at], inner)) ++at;
    ASSERT_LT(at + 1, trace.frames);
    EXPECT_TRUE(is_in(trace.pc[at + 1], outer));
}

TEST(Backtrace, KeepsToTheDepth) {
    for (const unsigned depth : {1u, 5u, 64u}) {
        Trace trace;
        deep(trace, depth, 100);
        EXPECT_EQ(trace.frames, depth);
    }
}

TEST(Backtrace, OneInsideAnotherIsRefusedAndNotAHang) {
    ASSERT_TRUE(backtrace::enter());
    Trace trace;
    inner(trace, 32);
    EXPECT_EQ(trace.frames, 0u);
    EXPECT_FALSE(backtrace::enter());
    backtrace::leave();
    inner(trace, 32);
    EXPECT_GT(trace.frames, 0u);
}

TEST(Backtrace, WorksInTheChildrenOfAThreadedProcess) {
    backtrace::start();
    std::atomic<bool> stop{false};
    std::thread busy([&] {
        Trace trace;
        while (!stop) deep(trace, 64, 30);
    });
    unsigned good = 0;
    constexpr unsigned kForks = 100;
    for (unsigned i = 0; i < kForks; ++i) {
        backtrace::before_fork();
        const pid_t child = fork();
        if (child == 0) {
            backtrace::after_fork_in_child();
            alarm(20);
            Trace trace;
            deep(trace, 16, 30);
            _exit(trace.frames == 16 ? 0 : 1);
        }
        backtrace::after_fork_in_parent();
        int status = 0;
        waitpid(child, &status, 0);
        good += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    stop = true;
    busy.join();
    EXPECT_EQ(good, kForks);
}

class ModuleMapTest : public ::testing::Test {
  protected:
    ModuleMapTest() : segment(create_private_segment(nullptr)) {
        map.start(segment.modules(), &segment.header().modules_used);
    }
    ~ModuleMapTest() override { munmap(segment.base, kSegmentBytes); }

    const segment::ModuleRecord &record(std::uint16_t index) const { return segment.modules()[index]; }

    static inline ModuleMap map;
    Segment segment;
};

TEST_F(ModuleMapTest, KnowsTheProgramAndItsLibraries) {
    const auto here = reinterpret_cast<std::uintptr_t>(&outer);
    const auto libc = reinterpret_cast<std::uintptr_t>(dlsym(RTLD_DEFAULT, "qsort"));
    EXPECT_EQ(map.find(here), segment::kNoModule);
    map.refresh();
    const std::uint16_t program = map.find(here);
    ASSERT_NE(program, segment::kNoModule);
    EXPECT_NE(std::strstr(record(program).path, "backtrace_test"), nullptr) << record(program).path;
    EXPECT_GE(here, record(program).begin);
    EXPECT_LT(here, record(program).end);
    const std::uint16_t library = map.find(libc);
    ASSERT_NE(library, segment::kNoModule);
    EXPECT_NE(std::strstr(record(library).path, "libc"), nullptr);
    EXPECT_EQ(record(library).build_id_bytes, 20u);
    Dl_info info{};
    ASSERT_NE(dladdr(reinterpret_cast<void *>(libc), &info), 0);
    EXPECT_EQ(record(library).bias, reinterpret_cast<std::uintptr_t>(info.dli_fbase));
    EXPECT_EQ(map.find(16), segment::kNoModule);
}

TEST_F(ModuleMapTest, ASecondRefreshAddsNothingAndALoadedLibraryIsAdded) {
    map.refresh();
    const std::uint32_t before = segment.header().modules_used;
    map.refresh();
    EXPECT_EQ(segment.header().modules_used, before);
    void *library = dlopen("libutil.so.1", RTLD_NOW | RTLD_LOCAL);
    ASSERT_NE(library, nullptr);
    map.refresh();
    EXPECT_EQ(segment.header().modules_used, before + 1);
    dlclose(library);
    map.refresh();
    // What was there stays told.
    EXPECT_EQ(segment.header().modules_used, before + 1);
}

TEST_F(ModuleMapTest, APlaceIsTheSameWhereverItsModuleIsLoaded) {
    map.refresh();
    const auto here = reinterpret_cast<std::uintptr_t>(&outer);
    const std::uint16_t program = map.find(here);
    EXPECT_EQ(map.identify(program, here), map.identify(program, here));
    EXPECT_NE(map.identify(program, here), map.identify(program, here + 1));
    EXPECT_NE(map.identify(program, here), map.identify(segment::kNoModule, here));
}

}  // namespace
}  // namespace hakmem
