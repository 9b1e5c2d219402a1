#include "diag/regions.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include <array>
#include <thread>

#include "diag/segment_writer.h"

namespace hakmem {
namespace {

using segment::AddressRegion;

TEST(DecideRegion, TakesTheFirstThatApplies) {
    EXPECT_EQ(decide_region({.mapped = false, .in_stack = true, .in_module = true}), AddressRegion::unmapped);
    EXPECT_EQ(decide_region({.mapped = true, .in_stack = true, .in_module = true}), AddressRegion::stack);
    EXPECT_EQ(decide_region({.mapped = true, .in_module = true}), AddressRegion::static_data);
    EXPECT_EQ(decide_region({.mapped = true}), AddressRegion::mapping);
}

TEST(IsInStack, NeedsOneMappingAndAnAddressBelowTheStacksEnd) {
    const Mapping mapping{0x1000, 0x9000};
    const StackAnchor stack{0x5000, 0x6000};
    EXPECT_TRUE(is_in_stack(0x1000, mapping, stack));
    EXPECT_TRUE(is_in_stack(0x5FFF, mapping, stack));
    EXPECT_FALSE(is_in_stack(0x6000, mapping, stack));  // another mapping that the kernel merged with the stack's
    EXPECT_FALSE(is_in_stack(0x9000, mapping, stack));
    EXPECT_FALSE(is_in_stack(0x2000, {0x1000, 0x3000}, stack));
}

TEST(FindMapping, AgreesWithMmap) {
    void *memory = mmap(nullptr, 3 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const auto begin = reinterpret_cast<std::uintptr_t>(memory);
    // A hole on either side, so that nothing merges.
    munmap(memory, 4096);
    munmap(static_cast<char *>(memory) + 2 * 4096, 4096);
    const Mapping mapping = find_mapping(begin + 4096 + 17);
    EXPECT_EQ(mapping.begin, begin + 4096);
    EXPECT_EQ(mapping.end, begin + 2 * 4096);
    EXPECT_FALSE(find_mapping(begin).contains(begin));
    EXPECT_FALSE(find_mapping(1).contains(1));
    munmap(static_cast<char *>(memory) + 4096, 4096);
}

class RegionTest : public ::testing::Test {
  protected:
    RegionTest() : segment(create_private_segment(nullptr)) {
        modules.start(segment.modules(), &segment.header().modules_used);
        modules.refresh();
    }
    ~RegionTest() override { munmap(segment.base, kSegmentBytes); }

    AddressRegion region_of(const void *address) {
        return decide_region(gather_region(reinterpret_cast<std::uintptr_t>(address), true, modules, descriptors));
    }

    static inline ModuleMap modules;
    Segment segment;
    std::array<std::atomic<std::uintptr_t>, 4> descriptors{};
};

int static_variable = 1;

TEST_F(RegionTest, OfTheMainThread) {
    int local = 0;
    EXPECT_EQ(region_of(&local), AddressRegion::stack);
    EXPECT_EQ(region_of(environ), AddressRegion::stack);
    EXPECT_EQ(region_of(&static_variable), AddressRegion::static_data);
    EXPECT_EQ(region_of("text"), AddressRegion::static_data);
    EXPECT_EQ(this_threads_descriptor(), 0u);
}

TEST_F(RegionTest, OfAMapping) {
    void *memory = mmap(nullptr, 1 << 24, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    EXPECT_EQ(region_of(static_cast<char *>(memory) + 100), AddressRegion::mapping);
    EXPECT_EQ(region_of(static_cast<char *>(memory) + (1 << 24) - 1), AddressRegion::mapping);
    munmap(memory, 1 << 24);
}

TEST_F(RegionTest, OfAnotherThreadsStack) {
    std::atomic<const void *> local{nullptr};
    std::atomic<bool> done{false};
    std::thread thread([&] {
        int variable = 0;
        descriptors[2] = this_threads_descriptor();
        EXPECT_EQ(region_of(&variable), AddressRegion::stack);
        local = &variable;
        while (!done) std::this_thread::yield();
    });
    while (local.load() == nullptr) std::this_thread::yield();
    EXPECT_EQ(region_of(local), AddressRegion::stack);
    descriptors[2] = 0;
    EXPECT_EQ(region_of(local), AddressRegion::mapping) << "known only by the thread's descriptor";
    done = true;
    thread.join();
}

TEST_F(RegionTest, OfAnAlternateSignalStack) {
    constexpr std::size_t kBytes = 1 << 16;
    void *memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const stack_t ours{.ss_sp = memory, .ss_flags = 0, .ss_size = kBytes};
    stack_t before{};
    ASSERT_EQ(sigaltstack(&ours, &before), 0);
    EXPECT_EQ(region_of(static_cast<char *>(memory) + 1000), AddressRegion::stack);
    ASSERT_EQ(sigaltstack(&before, nullptr), 0);
    EXPECT_EQ(region_of(static_cast<char *>(memory) + 1000), AddressRegion::mapping);
    munmap(memory, kBytes);
}

}  // namespace
}  // namespace hakmem
