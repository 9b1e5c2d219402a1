#include "core/heap.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <set>
#include <thread>
#include <vector>

#include "core/header_byte.h"

namespace hakmem {
namespace {

constexpr unsigned kClass = 3;

struct OwnHeap {
    Heap *heap = heaps.acquire();
    ~OwnHeap() { heaps.release(heap); }
};

std::vector<void *> take(Heap &heap, unsigned size_class, unsigned count) {
    std::vector<void *> blocks;
    while (blocks.size() < count) {
        void *batch[64];
        const unsigned wanted = std::min<unsigned>(64, count - static_cast<unsigned>(blocks.size()));
        const unsigned taken = heap.take(size_class, batch, wanted);
        EXPECT_GT(taken, 0u);
        blocks.insert(blocks.end(), batch, batch + taken);
    }
    return blocks;
}

unsigned give(Heap &heap, unsigned size_class, const std::vector<void *> &blocks) {
    Misfits misfits;
    heap.give(size_class, blocks.data(), static_cast<unsigned>(blocks.size()), misfits);
    return misfits.count;
}

TEST(Heap, BlocksAreDistinctAndCarryAFreeHeader) {
    OwnHeap own;
    const auto blocks = take(*own.heap, kClass, 5000);
    EXPECT_EQ(std::set<void *>(blocks.begin(), blocks.end()).size(), blocks.size());
    for (void *block : blocks) EXPECT_EQ(header_byte::load(block), header_byte::free(kClass));
    EXPECT_EQ(give(*own.heap, kClass, blocks), 0u);
}

// Whoever overruns the last block that was cut is not covered up when the next one is.
TEST(Heap, TheHeaderBehindTheLastBlockStays) {
    OwnHeap own;
    constexpr unsigned kUnusualClass = 21;  // a fresh span
    const auto blocks = take(*own.heap, kUnusualClass, 3);
    auto *behind = static_cast<char *>(blocks[2]) + size_classes::kSlotBytes[kUnusualClass];
    EXPECT_EQ(header_byte::load(behind), header_byte::free(kUnusualClass));
    header_byte::store(behind, 0);
    const auto more = take(*own.heap, kUnusualClass, 2);
    ASSERT_EQ(more[0], behind);
    EXPECT_EQ(header_byte::load(more[0]), 0);
    EXPECT_EQ(header_byte::load(more[1]), header_byte::free(kUnusualClass));
    header_byte::store(behind, header_byte::free(kUnusualClass));
    give(*own.heap, kUnusualClass, blocks);
    give(*own.heap, kUnusualClass, more);
}

TEST(Heap, ReusesTheLowestFreeSlotsFirst) {
    OwnHeap own;
    const auto blocks = take(*own.heap, kClass, 200);
    give(*own.heap, kClass, {blocks[17], blocks[5], blocks[99]});
    void *again[3];
    ASSERT_EQ(own.heap->take(kClass, again, 3), 3u);
    EXPECT_EQ(again[0], blocks[5]);
    EXPECT_EQ(again[1], blocks[17]);
    EXPECT_EQ(again[2], blocks[99]);
}

TEST(Heap, BlocksOfAnotherClassAndForeignPointersAreMisfits) {
    OwnHeap own;
    auto blocks = take(*own.heap, kClass, 4);
    int local = 0;
    EXPECT_EQ(give(*own.heap, kClass + 1, {blocks[0]}), 1u);
    EXPECT_EQ(give(*own.heap, kClass, {static_cast<char *>(blocks[0]) + 16, &local}), 2u);
    EXPECT_EQ(give(*own.heap, kClass, blocks), 0u);
}

TEST(Heap, EmptySpansGoBackToThePageHeap) {
    heaps.trim_all();
    const auto before = page_heap.gauges().block_bytes;
    {
        OwnHeap own;
        const auto blocks = take(*own.heap, 20, 3000);
        EXPECT_GT(page_heap.gauges().block_bytes, before + 2'000'000);
        give(*own.heap, 20, blocks);
        // One is kept in reserve.
        EXPECT_LE(page_heap.gauges().block_bytes, before + 2 * size_classes::kSpanBytes);
    }
    // It waits for the next thread.
    EXPECT_LE(page_heap.gauges().block_bytes, before + size_classes::kSpanBytes);
    {
        OwnHeap next;
        const auto blocks = take(*next.heap, 20, 1);
        EXPECT_LE(page_heap.gauges().block_bytes, before + size_classes::kSpanBytes);
        give(*next.heap, 20, blocks);
    }
    heaps.trim_all();
    EXPECT_EQ(page_heap.gauges().block_bytes, before);
}

TEST(Heap, BlocksFreedByAnotherThreadComeHome) {
    OwnHeap own;
    const auto blocks = take(*own.heap, kClass, 3000);
    std::thread([&] {
        OwnHeap other;
        give(*other.heap, kClass, blocks);
    }).join();
    const auto again = take(*own.heap, kClass, 3000);
    const std::set<void *> first(blocks.begin(), blocks.end());
    unsigned reused = 0;
    for (void *block : again) reused += first.count(block);
    EXPECT_GT(reused, 2000u);
    give(*own.heap, kClass, again);
}

// The owner does nothing at all: the freeing thread lets the span go.
TEST(Heap, MemoryComesBackThoughItsOwnerSleeps) {
    const auto before = page_heap.gauges().block_bytes;
    OwnHeap own;
    const auto blocks = take(*own.heap, 20, 3000);
    std::thread([&] {
        OwnHeap other;
        give(*other.heap, 20, blocks);
    }).join();
    EXPECT_LE(page_heap.gauges().block_bytes, before + 2 * size_classes::kSpanBytes);
}

// Several threads free the last blocks of a span at once, while its owner takes in what has come and lets go of what is
// free: not before the last of them is done with the span.
TEST(Heap, ASpanStaysWhileSomebodySendsItsBlocksHome) {
    constexpr unsigned kLargest = size_classes::kCount - 1;
    constexpr unsigned kThreads = 6;
    constexpr std::chrono::seconds kTime{3};
    OwnHeap own;
    std::atomic<int> round{0};
    std::atomic<unsigned> given{0};
    std::vector<void *> blocks(kThreads);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < kThreads; ++t) {
        threads.emplace_back([&, t] {
            OwnHeap other;
            for (int mine = 1;; ++mine) {
                while (round.load() < mine) {
                    if (round.load() < 0) return;
                    std::this_thread::yield();
                }
                give(*other.heap, kLargest, {blocks[t]});
                given.fetch_add(1);
            }
        });
    }
    const auto end = std::chrono::steady_clock::now() + kTime;
    for (int next = 1; std::chrono::steady_clock::now() < end; ++next) {
        blocks = take(*own.heap, kLargest, kThreads);
        given = 0;
        round = next;
        while (given.load() < kThreads) {
            own.heap->trim();
            std::this_thread::yield();
        }
    }
    round = -1;
    for (std::thread &thread : threads) thread.join();
    own.heap->trim();
    EXPECT_EQ(own.heap->first_span(), nullptr);
}

TEST(Heap, SpansOfAnEndedThreadServeOthers) {
    std::vector<void *> left;
    std::thread([&] {
        OwnHeap own;
        left = take(*own.heap, 10, 500);
    }).join();
    OwnHeap own;
    give(*own.heap, 10, left);
    heaps.trim_all();
    for (const void *block : left) EXPECT_EQ(page_map.span_of(address_of(block)), nullptr);
}

// Producers and consumers pass blocks on while threads end and hand over their spans; nothing is handed out twice.
TEST(Heap, NothingIsHandedOutTwiceAcrossThreads) {
    constexpr int kThreads = 4, kRounds = 40;
    constexpr unsigned kBlocks = 600;
    std::vector<void *> mail[kThreads];
    std::atomic<bool> twice{false};
    for (int round = 0; round < kRounds; ++round) {
        std::vector<std::thread> threads;
        std::vector<void *> next[kThreads];
        for (int t = 0; t < kThreads; ++t) {
            threads.emplace_back([&, t] {
                OwnHeap own;
                auto blocks = take(*own.heap, kClass, kBlocks);
                for (void *block : blocks) {
                    auto *mark = static_cast<std::atomic<std::uint64_t> *>(block);
                    if (mark->exchange(0x11) == 0x11) twice = true;
                }
                const auto &received = mail[(t + 1) % kThreads];
                for (void *block : received) static_cast<std::atomic<std::uint64_t> *>(block)->store(0x22);
                if (give(*own.heap, kClass, received) != 0) twice = true;
                next[t] = std::move(blocks);
            });
        }
        for (auto &thread : threads) thread.join();
        for (int t = 0; t < kThreads; ++t) mail[t] = std::move(next[t]);
    }
    EXPECT_FALSE(twice);
    OwnHeap own;
    for (auto &blocks : mail) {
        for (void *block : blocks) static_cast<std::atomic<std::uint64_t> *>(block)->store(0x22);
        give(*own.heap, kClass, blocks);
    }
}

}  // namespace
}  // namespace hakmem
