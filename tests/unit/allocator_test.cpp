#include "core/allocator.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <thread>
#include <vector>

#include "at_once.h"
#include "malloc/production_probe.h"
#include "os/pages.h"

namespace hakmem {

namespace {
// What bad frees are to be, by any thread but one at a time.
constexpr Kind kNone{segment::kKinds};
std::atomic<Kind> expected{kNone};
std::atomic<unsigned> bad_frees{0};
Finding last;
}  // namespace

void ProductionProbe::bad_free(ThreadState &, const Finding &finding) {
    EXPECT_EQ(finding.kind, expected) << finding.facts.address;
    last = finding;
    ++bad_frees;
}
void ProductionProbe::library_ended() {}

namespace {

using Plain = Allocator<ProductionProbe>;

constinit pthread_key_t late_key = 0;

std::uintptr_t line_of(const void *block) { return address_of(block) / 64; }

// Where a thread is handed small blocks by another and frees them, they must not come back to it: their neighbours are
// the other thread's, which goes on writing to the same cache line.
TEST(Allocator, WhatAThreadWasHandedGoesHome) {
    static_assert(kEarlyFrees >= 4);
    for (std::size_t bytes : {8, 24, 40}) {
        std::vector<void *> handed(64);
        for (void *&block : handed) block = Plain::allocate(bytes);
        std::thread([&] {
            for (unsigned i = 0; i < kEarlyFrees; ++i) {
                Plain::deallocate(handed.back());
                handed.pop_back();
            }
            void *own = Plain::allocate(bytes);
            for (void *theirs : handed) EXPECT_NE(line_of(own), line_of(theirs)) << bytes;
            Plain::deallocate(own);
        }).join();
        for (void *block : handed) Plain::deallocate(block);
    }
}

// The block is still known by the rest of its header, and not taken for a place inside of its slot.
TEST(Allocator, AWriteRightBeforeAnAlignedBlock) {
    unsigned tried = 0;
    for (std::size_t bytes : {40, 1000, 3000}) {
        auto *block = static_cast<unsigned char *>(Plain::allocate_aligned(64, bytes));
        if (block[-1] != BlockHeader::kAligned) continue;  // it starts where its slot does
        ++tried;
        for (int written = 1; written <= 4; ++written) {
            unsigned char kept[4];
            std::copy_n(block - written, written, kept);
            std::fill_n(block - written, written, 'x');
            const unsigned before = bad_frees;
            expected = Kind::large_header_corrupt;
            Plain::deallocate(block);
            expected = kNone;
            EXPECT_EQ(bad_frees, before + 1) << bytes << ' ' << written;
            EXPECT_EQ(last.facts.header_expected, BlockHeader::kAligned);
            std::copy_n(kept, written, block - written);
        }
        Plain::deallocate(block);
    }
    EXPECT_NE(tried, 0U);
}

// What lies before a pointer that nobody gave out is told, however it is aligned, unless it can't be read.
TEST(Allocator, TheByteBeforeAForeignPointer) {
    const std::size_t page = os::system_page_bytes();
    auto *pages = static_cast<unsigned char *>(
        mmap(nullptr, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ASSERT_NE(pages, MAP_FAILED);
    unsigned char *const second = pages + page;
    const auto free_at = [](unsigned char *pointer) {
        last = {};
        const unsigned before = bad_frees;
        expected = Kind::foreign_pointer;
        Plain::deallocate(pointer);
        expected = kNone;
        EXPECT_EQ(bad_frees, before + 1);
        EXPECT_EQ(last.facts.address, address_of(pointer));
        EXPECT_TRUE(last.facts.mapped);
    };
    for (unsigned char *pointer : {second, second + 1, second + 8, second + 16, second + 160}) {
        pointer[-1] = 'x';
        free_at(pointer);
        EXPECT_TRUE(last.facts.header_known);
        EXPECT_EQ(last.facts.header_found, 'x');
        pointer[-1] = 0;
    }
    ASSERT_EQ(mprotect(pages, page, PROT_NONE), 0);
    free_at(second);
    EXPECT_FALSE(last.facts.header_known);
    munmap(pages, 2 * page);
}

// A thread that frees many blocks of others keeps a batch of them: not each one costs a way home.
TEST(Allocator, AConsumerKeepsABatch) {
    std::vector<void *> handed(64);
    for (void *&block : handed) block = Plain::allocate(100);
    std::thread([&] {
        for (void *block : handed) Plain::deallocate(block);
        void *again = Plain::allocate(100);
        EXPECT_NE(std::find(handed.begin(), handed.end(), again), handed.end());
        Plain::deallocate(again);
    }).join();
}

// Two threads free a large block at once: one of them does, and the page heap gets its pages back once.
TEST(Allocator, ALargeBlockIsFreedOnce) {
    constexpr unsigned kRounds = 100'000;
    Plain::deallocate(Plain::allocate(20'000));
    const std::uint64_t before = page_heap.gauges().block_bytes;
    const unsigned bad_before = bad_frees;
    expected = Kind::double_free;
    std::atomic<void *> block{nullptr};
    std::atomic<unsigned> round{0}, done{0};
    std::thread other([&] {
        for (unsigned mine = 1; mine <= kRounds; ++mine) {
            wait_for(round, mine);
            Plain::deallocate(block);
            done = mine;
        }
    });
    unsigned wrong = 0;
    for (unsigned next = 1; next <= kRounds; ++next) {
        block = Plain::allocate(20'000);
        void *mine = block;
        round = next;
        skew(next % 128);
        Plain::deallocate(mine);
        wait_for(done, next);
        wrong += page_heap.gauges().block_bytes != before;
    }
    other.join();
    EXPECT_EQ(wrong, 0u);
    EXPECT_EQ(bad_frees, bad_before + kRounds);
    expected = kNone;
}

unsigned heaps_made() {
    unsigned made = 0;
    heaps.for_each([&](Heap &) { ++made; });
    return made;
}

// As many threads, one after the other, as make it plain whether they leave their heaps: each has a block as the value
// of a key made after the allocator's, whose destructor is called for it.
void end_threads(void (*destructor)(void *), void *(*run)(void *)) {
    Plain::deallocate(Plain::allocate(1));
    pthread_key_t key;
    ASSERT_EQ(pthread_key_create(&key, destructor), 0);
    late_key = key;
    const unsigned before = heaps_made();
    for (int i = 0; i < 20; ++i) {
        pthread_t thread;
        ASSERT_EQ(pthread_create(&thread, nullptr, run, Plain::allocate(100)), 0);
        pthread_join(thread, nullptr);
    }
    EXPECT_LE(heaps_made(), before + 1);
    pthread_key_delete(key);
}

// Its only use of the allocator is that destructor.
TEST(Allocator, AThreadThatOnlyFreesAtItsEndLeavesItsHeap) {
    end_threads([](void *block) { Plain::deallocate(block); },
                [](void *block) -> void * {
                    pthread_setspecific(late_key, block);
                    return nullptr;
                });
}

// It hands a bad pointer to realloc after the allocator's own turn.
TEST(Allocator, AThreadThatIsWrongAfterItsEndLeavesItsHeap) {
    expected = Kind::interior_pointer;
    end_threads(
        [](void *block) {
            static thread_local int round = 0;
            if (++round < PTHREAD_DESTRUCTOR_ITERATIONS) {
                pthread_setspecific(late_key, block);
                return;
            }
            // The last that it does: to free the block would end it once more.
            EXPECT_EQ(Plain::reallocate(static_cast<char *>(block) + 16, 200), nullptr);
        },
        [](void *block) -> void * {
            Plain::deallocate(Plain::allocate(40));
            pthread_setspecific(late_key, block);
            return nullptr;
        });
    expected = kNone;
}

}  // namespace
}  // namespace hakmem
