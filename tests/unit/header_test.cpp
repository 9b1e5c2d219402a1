#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "core/block_header.h"
#include "core/header_byte.h"

namespace hakmem {
namespace {

TEST(HeaderByte, FormsAreDistinctAndNoCommonOverwriteLooksLikeOne) {
    std::set<std::uint8_t> forms;
    for (unsigned c = 0; c < header_byte::kClasses; ++c) {
        forms.insert(header_byte::live(c));
        forms.insert(header_byte::free(c));
        forms.insert(header_byte::watched(c));
        EXPECT_EQ(header_byte::live_class(header_byte::live(c)), c);
        EXPECT_GE(header_byte::live_class(header_byte::free(c)), header_byte::kClasses);
        EXPECT_GE(header_byte::live_class(header_byte::watched(c)), header_byte::kClasses);
    }
    EXPECT_EQ(forms.size(), 3 * header_byte::kClasses);
    for (const std::uint8_t marker :
         {BlockHeader::kRun, BlockHeader::kAligned, BlockHeader::kFreedRun, BlockHeader::kFreedAligned})
        EXPECT_TRUE(forms.insert(marker).second);
    // NUL, 0xFF, ASCII, and the top byte of a user-space pointer (0x00, 0x7f).
    for (unsigned byte = 0; byte < 0x80; ++byte) EXPECT_EQ(forms.count(static_cast<std::uint8_t>(byte)), 0u);
    EXPECT_EQ(forms.count(0xFF), 0u);
}

TEST(HeaderByte, GuardedLoadReadsTheSameByte) {
    alignas(16) char memory[32] = {};
    for (unsigned value = 0; value < 256; ++value) {
        header_byte::store(memory + 16, static_cast<std::uint8_t>(value));
        EXPECT_EQ(header_byte::guarded_load(memory + 16), value);
        EXPECT_EQ(header_byte::load(memory + 16), value);
    }
}

TEST(BlockHeader, AnyChangedByteIsSeen) {
    BlockHeader::key = 0x1234567890abcdef;
    alignas(16) unsigned char memory[64];
    void *block = memory + 32;
    BlockHeader::store(block, 70000, BlockHeader::kRun);
    ASSERT_TRUE(BlockHeader::load(block).valid_for(block));
    for (unsigned i = 16; i < 32; ++i) {
        for (unsigned change = 1; change < 256; ++change) {
            memory[i] ^= static_cast<unsigned char>(change);
            EXPECT_FALSE(BlockHeader::load(block).valid_for(block)) << i << ' ' << change;
            memory[i] ^= static_cast<unsigned char>(change);
        }
    }
    ASSERT_TRUE(BlockHeader::load(block).valid_for(block));
}

TEST(BlockHeader, IsTiedToItsAddressAndKey) {
    alignas(16) unsigned char memory[64];
    BlockHeader::key = 1;
    BlockHeader::store(memory + 16, 100, BlockHeader::kAligned);
    std::memcpy(memory + 32, memory, 16);
    EXPECT_FALSE(BlockHeader::load(memory + 48).valid_for(memory + 48));
    BlockHeader::key = 2;
    EXPECT_FALSE(BlockHeader::load(memory + 16).valid_for(memory + 16));
}

// A write right before an aligned block, from 1 byte to 4, leaves what the checksum speaks of.
TEST(BlockHeader, AHurtHeaderOfAnAlignedBlockIsKnownAsOne) {
    alignas(16) unsigned char memory[32] = {};
    EXPECT_FALSE(BlockHeader::load(memory + 16).is_left_of_aligned(memory + 16));
    for (std::size_t written = 1; written <= 4; ++written) {
        BlockHeader::store(memory + 16, 48, BlockHeader::kAligned);
        std::memset(memory + 16 - written, 'x', written);
        EXPECT_FALSE(BlockHeader::load(memory + 16).valid_for(memory + 16));
        EXPECT_TRUE(BlockHeader::load(memory + 16).is_left_of_aligned(memory + 16)) << written;
    }
    std::memset(memory, 'x', 15);
    memory[15] = BlockHeader::kAligned;
    EXPECT_TRUE(BlockHeader::load(memory + 16).is_left_of_aligned(memory + 16));
    BlockHeader::store(memory + 16, 48, BlockHeader::kRun);
    EXPECT_FALSE(BlockHeader::load(memory + 16).is_left_of_aligned(memory + 16));
}

TEST(BlockHeader, FreedFormIsValidAndDifferent) {
    alignas(16) unsigned char memory[32];
    BlockHeader::store(memory + 16, 100, BlockHeader::kRun);
    BlockHeader::mark_freed(memory + 16);
    const BlockHeader header = BlockHeader::load(memory + 16);
    EXPECT_TRUE(header.valid_for(memory + 16));
    EXPECT_EQ(header.marker, BlockHeader::kFreedRun);
}

}  // namespace
}  // namespace hakmem
