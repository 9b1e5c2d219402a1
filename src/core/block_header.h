// The 16-byte header before blocks that are not small slots: page runs, mappings, and aligned blocks inside a slot. The
// only code that reads or writes it. Its last byte is where a small block's header byte would be, so free reads one
// byte and knows which it is. The checksum is keyed with the process's secret.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bits.h"
#include "core/header_byte.h"

namespace hakmem {

struct BlockHeader {
    enum Marker : std::uint8_t {
        kRun = 0xE1,        // `value`: user bytes of the page run or mapping
        kAligned = 0xE2,    // `value`: distance back to the start of the small block it lies in
        kGuarded = 0xE3,    // alone, without the other 15 bytes: a block between guard pages (guarded_pages.h)
        kFreedFlag = 0x10,  // set in a header whose block was freed
        kFreedRun = kRun | kFreedFlag,
        kFreedAligned = kAligned | kFreedFlag,
    };

    std::uint64_t value;
    std::uint32_t checksum;
    std::uint8_t zero[3];
    std::uint8_t marker;

    static constexpr std::size_t kBytes = 16;

    // The process's key; set once before the first header is written.
    static inline constinit std::uint64_t key = 0;

    static std::uint32_t checksum_of(std::uintptr_t block, std::uint64_t value, std::uint8_t marker) {
        std::uint64_t mixed = (block ^ key) * 0x9E3779B97F4A7C15;
        mixed ^= (value + marker) * 0xD6E8FEB86659FD93;
        mixed ^= mixed >> 32;
        return static_cast<std::uint32_t>((mixed * 0x9E3779B97F4A7C15) >> 32);
    }

    static void store(void *block, std::uint64_t value, std::uint8_t marker) {
        const BlockHeader header{value, checksum_of(address_of(block), value, marker), {}, marker};
        std::memcpy(static_cast<char *>(block) - kBytes, &header, kBytes);
    }

    // The 16 bytes before `block` must be readable.
    static BlockHeader load(const void *block) {
        BlockHeader header;
        std::memcpy(&header, static_cast<const char *>(block) - kBytes, kBytes);
        return header;
    }

    bool valid_for(const void *block) const {
        return checksum == checksum_of(address_of(block), value, marker) && zero[0] == 0 && zero[1] == 0 &&
               zero[2] == 0;
    }

    static void mark_freed(void *block) {
        const BlockHeader header = load(block);
        store(block, header.value, header.marker | kFreedFlag);
    }
};

static_assert(sizeof(BlockHeader) == BlockHeader::kBytes);
static_assert(offsetof(BlockHeader, marker) == BlockHeader::kBytes - 1);
static_assert(BlockHeader::kRun >= header_byte::kLargeFirst && BlockHeader::kFreedAligned < 0xFF);

}  // namespace hakmem
