#include "core/page_heap.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "at_once.h"

namespace hakmem {
namespace {

constexpr std::size_t kPage = os::kPageBytes;

void fill(const Span *span, unsigned char value) { std::memset(pointer_to(span->start), value, span->bytes); }

bool holds(const Span *span, unsigned char value) {
    const auto *bytes = pointer_to<unsigned char>(span->start);
    for (std::size_t i = 0; i < span->bytes; ++i)
        if (bytes[i] != value) return false;
    return true;
}

TEST(PageHeap, PageMapKnowsASpanFromItsFirstToItsLastByteAndForgetsIt) {
    for (const std::size_t bytes :
         {kPage, 3 * kPage, PageHeap::kMaxRunPages * kPage, std::size_t{5} << 20, PageHeap::kDirectBytes + kPage}) {
        Span *span = page_heap.allocate_run(bytes);
        ASSERT_NE(span, nullptr);
        const std::uintptr_t start = span->start;
        EXPECT_EQ(span->bytes, bytes);
        EXPECT_EQ(page_map.span_of(start), span);
        EXPECT_EQ(page_map.span_of(start + bytes - 1), span);
        EXPECT_NE(page_map.span_of(start + bytes), span);
        EXPECT_NE(page_map.span_of(start - 1), span);
        page_heap.release(span);
        EXPECT_EQ(page_map.span_of(start), nullptr);
    }
}

// The page heap and the guarded pages reserve under locks of their own, in the same part of the address space.
TEST(PageMap, TwoWhoReserveAtOnceBothFindTheirUnits) {
    constexpr std::uintptr_t kPart = std::uintptr_t{1} << 34;
    constexpr unsigned kRounds = 5000;  // below any memory of a process
    const auto reserve = [](unsigned round, unsigned who) {
        const std::uintptr_t unit = round * kPart + who * kUnitBytes;
        if (page_map.reserve(unit, 1)) page_map.set(unit, 1, PageMap::Entry::kFreeUnit);
    };
    std::atomic<unsigned> round{0}, done{0};
    std::thread other([&] {
        for (unsigned mine = 1; mine <= kRounds; ++mine) {
            wait_for(round, mine);
            reserve(mine, 1);
            done = mine;
        }
    });
    unsigned lost = 0;
    for (unsigned next = 1; next <= kRounds; ++next) {
        round = next;
        skew(next % 256);
        reserve(next, 0);
        wait_for(done, next);
        for (const unsigned who : {0, 1}) {
            const std::uintptr_t unit = next * kPart + who * kUnitBytes;
            if (!page_map.find(unit).ours()) ++lost;
            page_map.set(unit, 1, 0);
        }
    }
    other.join();
    EXPECT_EQ(lost, 0u);
}

TEST(PageHeap, FreshMemoryIsToldAndIsZero) {
    page_heap.discard_all();
    Span *span = page_heap.allocate_run(40 * kPage);
    ASSERT_NE(span, nullptr);
    if (span->zeroed) {
        EXPECT_TRUE(holds(span, 0));
    }
    fill(span, 7);
    page_heap.release(span);
    Span *again = page_heap.allocate_run(40 * kPage);
    EXPECT_FALSE(again->zeroed) << "resident pages are taken first";
    page_heap.release(again);
    page_heap.discard_all();
    Span *third = page_heap.allocate_run(40 * kPage);
    EXPECT_TRUE(third->zeroed);
    EXPECT_TRUE(holds(third, 0));
    page_heap.release(third);
}

TEST(PageHeap, GrowsAndShrinksInPlace) {
    Span *span = page_heap.allocate_run(2 * kPage);
    ASSERT_TRUE(page_heap.grow_in_place(span, 10 * kPage));
    EXPECT_EQ(page_map.span_of(span->start + 10 * kPage - 1), span);
    fill(span, 1);
    page_heap.shrink_in_place(span, 4 * kPage);
    EXPECT_EQ(page_map.span_of(span->start + 4 * kPage), nullptr);
    Span *neighbour = page_heap.allocate_run(kPage);
    EXPECT_TRUE(holds(span, 1));
    page_heap.release(neighbour);
    page_heap.release(span);

    Span *units = page_heap.allocate_run(std::size_t{3} << 20);
    const std::size_t more = std::size_t{4} << 20;
    ASSERT_TRUE(page_heap.grow_in_place(units, more));
    EXPECT_EQ(page_map.span_of(units->start + more - 1), units);
    page_heap.release(units);
}

TEST(PageHeap, ARunTakesPagesOfSeveralUnitsAndLeavesTheRestOfThemToOthers) {
    page_heap.discard_all();
    const std::size_t mapped = page_heap.gauges().mapped_bytes;
    Span *large = page_heap.allocate_run(kUnitBytes + 100 * kPage);
    Span *next = page_heap.allocate_run(50 * kPage);
    ASSERT_TRUE(large != nullptr && next != nullptr);
    fill(large, 1);
    fill(next, 2);
    Span *small = page_heap.allocate_small(3);
    EXPECT_LE(page_heap.gauges().mapped_bytes - mapped, 8 * kUnitBytes);
    EXPECT_TRUE(holds(large, 1));
    const auto unit = [](std::uintptr_t address) { return address / kUnitBytes; };
    EXPECT_TRUE(unit(next->start) == unit(large->start) || unit(next->start) == unit(large->end() - 1))
        << "it finds room in a unit that is used already";
    page_heap.release(large);
    EXPECT_TRUE(holds(next, 2));
    page_heap.release(next);
    page_heap.release(small);
}

// A program that comes back for what it freed finds it resident the next time; one that does not, gives it up.
TEST(PageHeap, KeepsResidentWhatWasMissed) {
    page_heap.discard_all();
    constexpr std::size_t kBytes = std::size_t{16} << 20;
    const auto use_and_free = [&] {
        Span *span = page_heap.allocate_run(kBytes);
        fill(span, 1);
        page_heap.release(span);
        return page_heap.gauges().resident_free_bytes;
    };
    EXPECT_LT(use_and_free(), kBytes / 2);
    std::size_t kept = 0;
    for (int i = 0; i < 20 && kept < kBytes; ++i) kept = use_and_free();
    EXPECT_GE(kept, kBytes);
    page_heap.discard_all();
    EXPECT_EQ(page_heap.gauges().resident_free_bytes, 0u);
    EXPECT_LT(use_and_free(), kBytes / 2);
}

// The kernel's flag of the mapping that holds `address`: it is to get huge pages.
bool wants_huge_pages(std::uintptr_t address) {
    std::ifstream smaps("/proc/self/smaps");
    bool here = false;
    for (std::string line; std::getline(smaps, line);) {
        std::uintptr_t begin = 0, end = 0;
        if (std::sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) here = begin <= address && address < end;
        if (here && line.starts_with("VmFlags:")) return line.find(" hg") != std::string::npos;
    }
    return false;
}

TEST(PageHeap, WantsHugePagesForSmallBlocksFromTheFloorOn) {
    if (!std::filesystem::exists("/sys/kernel/mm/transparent_hugepage")) GTEST_SKIP() << "a kernel without any";
    page_heap.discard_all();
    // Enough for a unit that nothing was cut from yet.
    const auto huge_of = [](std::size_t bytes, bool small) {
        std::vector<Span *> spans;
        int huge = 0;
        for (std::size_t cut = 0; cut < 2 * kUnitBytes; cut += bytes) {
            spans.push_back(small ? page_heap.allocate_small(0) : page_heap.allocate_run(bytes));
            huge += wants_huge_pages(spans.back()->start) ? 1 : 0;
        }
        for (Span *span : spans) page_heap.release(span);
        page_heap.discard_all();
        return huge;
    };
    EXPECT_EQ(huge_of(size_classes::kSpanBytes, true), 0);
    page_heap.huge_page_floor = 0;
    EXPECT_EQ(huge_of(std::size_t{512} << 10, false), 0) << "programs reserve buffers that they never fill";
    EXPECT_GT(huge_of(size_classes::kSpanBytes, true), 0);
    // What went back under the old floor is as it was.
    page_heap.huge_page_floor = PageHeap::kHugePageFloor;
    huge_of(size_classes::kSpanBytes, true);
    EXPECT_EQ(huge_of(size_classes::kSpanBytes, true), 0);
}

// Random spans never overlap: each is filled with its own value and checked when it goes.
TEST(PageHeap, SpansNeverOverlap) {
    std::mt19937 random(3);
    std::vector<std::pair<Span *, unsigned char>> live;
    for (int step = 0; step < 4000; ++step) {
        if (live.size() < 60 && random() % 3 != 0) {
            std::size_t pages = 1 + random() % 40;
            if (random() % 50 == 0) pages = 300 + random() % 1500;
            Span *span = page_heap.allocate_run(pages * kPage);
            ASSERT_NE(span, nullptr);
            if (span->zeroed) {
                ASSERT_TRUE(holds(span, 0));
            }
            const auto value = static_cast<unsigned char>(1 + random() % 255);
            fill(span, value);
            live.emplace_back(span, value);
        } else if (!live.empty()) {
            const std::size_t i = random() % live.size();
            Span *span = live[i].first;
            ASSERT_TRUE(holds(span, live[i].second));
            if (random() % 4 == 0) {
                const std::size_t bytes = span->bytes + (random() % 600) * kPage;
                if (page_heap.grow_in_place(span, bytes)) {
                    ASSERT_EQ(span->bytes, bytes);
                    ASSERT_EQ(page_map.span_of(span->end() - 1), span);
                    fill(span, live[i].second);
                    continue;
                }
                const std::size_t less = align_up(span->bytes / 2, kPage);
                page_heap.shrink_in_place(span, less);
                ASSERT_EQ(page_map.span_of(span->end()) == span, false);
                continue;
            }
            page_heap.release(live[i].first);
            live[i] = live.back();
            live.pop_back();
        }
        if (step % 500 == 0) page_heap.discard_all();
    }
    for (auto &[span, value] : live) {
        ASSERT_TRUE(holds(span, value));
        page_heap.release(span);
    }
    EXPECT_EQ(page_heap.gauges().block_bytes, 0u);
    page_heap.discard_all();
    EXPECT_EQ(page_heap.gauges().resident_free_bytes, 0u);
}

}  // namespace
}  // namespace hakmem
