// Under glibc's malloc, which this program is not preloaded away from.
#include "core/foreign.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "base/bits.h"

namespace hakmem {
namespace {

void expect_glibcs(void *block) {
    const std::uintptr_t address = address_of(block);
    EXPECT_TRUE(foreign::is_glibc_block(address));
    EXPECT_EQ(foreign::glibc_usable_bytes(address), malloc_usable_size(block));
    EXPECT_FALSE(foreign::is_glibc_block(address + 1));
}

TEST(Foreign, KnowsABlockOfTheMainArena) {
    void *block = std::malloc(100);
    expect_glibcs(block);
    foreign::free_glibc_block(address_of(block));
}

TEST(Foreign, KnowsABlockOfAnotherArena) {
    std::thread([] {
        void *block = std::malloc(100);
        expect_glibcs(block);
        foreign::free_glibc_block(address_of(block));
    }).join();
}

TEST(Foreign, KnowsABlockWithAMappingOfItsOwn) {
    void *block = std::malloc(16 << 20);
    expect_glibcs(block);
    foreign::free_glibc_block(address_of(block));
}

TEST(Foreign, IsNotTakenInByOtherMemory) {
    alignas(16) std::array<std::uintptr_t, 64> words{};
    const std::uintptr_t address = address_of(words.data() + 2);
    EXPECT_FALSE(foreign::is_glibc_block(address));
    words[1] = 64 | 1;  // looks like a chunk, with another one behind, but lies on the stack
    words[9] = 64 | 1;
    EXPECT_FALSE(foreign::is_glibc_block(address));
    words[1] = 64 | 5;  // of another arena
    EXPECT_FALSE(foreign::is_glibc_block(address));
    words[1] = 64 | 2;  // of a mapping that would be smaller than a page
    EXPECT_FALSE(foreign::is_glibc_block(address));
    EXPECT_FALSE(foreign::is_glibc_block(0));
    EXPECT_FALSE(foreign::is_glibc_block(1 << 20));  // nothing is mapped there
    EXPECT_EQ(foreign::glibc_usable_bytes(1 << 20), 0u);
}

}  // namespace
}  // namespace hakmem
