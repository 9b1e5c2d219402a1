#include "core/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "malloc/production_probe.h"

namespace hakmem {

namespace {
constinit Finding *awaited = nullptr;  // where a bad free is wanted
}

void ProductionProbe::bad_free(ThreadState &, const Finding &finding) {
    ASSERT_NE(awaited, nullptr) << finding.facts.address;
    *awaited = finding;
}
void ProductionProbe::library_ended() {}

namespace {

using Plain = Allocator<ProductionProbe>;

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
            Finding finding;
            awaited = &finding;
            Plain::deallocate(block);
            awaited = nullptr;
            EXPECT_EQ(finding.kind, Kind::large_header_corrupt) << bytes << ' ' << written;
            EXPECT_EQ(finding.facts.header_expected, BlockHeader::kAligned);
            std::copy_n(kept, written, block - written);
        }
        Plain::deallocate(block);
    }
    EXPECT_NE(tried, 0U);
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

}  // namespace
}  // namespace hakmem
