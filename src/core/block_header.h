// The 16-byte header before blocks that are not small slots: page runs, mappings, and aligned blocks inside a slot. The
// only code that reads or writes it. Its last byte is where a small block's header byte would be, so free reads one
// byte and knows which it is. The checksum is keyed with the process's secret.
#pragma once

#include <bit>
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
        const std::uint64_t high = checksum_of(address_of(block), value, marker) | std::uint64_t{marker} << 56;
        Words{value, high}.put(place_of(block));
    }

    // The 16 bytes before `block` must be readable.
    static BlockHeader load(const void *block) {
        Words words;
        words.get(place_of(block));
        BlockHeader header;
        std::memcpy(&header, &words, kBytes);
        return header;
    }

    bool valid_for(const void *block) const {
        return checksum == checksum_of(address_of(block), value, marker) && zero[0] == 0 && zero[1] == 0 &&
               zero[2] == 0;
    }

    // What is left of an aligned block's header that isn't valid: its marker, or all that the checksum speaks of. The
    // latter is so after a write right before the block, from 1 byte to 4.
    bool is_left_of_aligned(const void *block) const {
        return marker == kAligned || checksum == checksum_of(address_of(block), value, kAligned);
    }

    static void mark_freed(void *block) {
        const BlockHeader header = load(block);
        store(block, header.value, header.marker | kFreedFlag);
    }

  private:
    // Audits look at headers that are being written. One store of 16 bytes has a whole header, the old or the new one,
    // there for them wherever the thread that writes is stopped. ThreadSanitizer knows no atomic store of that size:
    // under it the halves are words of their own, and who reads one of each finds no valid header and looks again. A
    // pointer that no header belongs to may be anywhere; the machine reads there too.
    struct Words {
        using Word [[gnu::may_alias]] = std::uint64_t;
        typedef std::uint64_t Both __attribute__((vector_size(16), aligned(1), may_alias));
        std::uint64_t low, high;

        __attribute__((no_sanitize("alignment"))) void put(char *to) const {
#if defined(__SANITIZE_THREAD__)
            __atomic_store_n(reinterpret_cast<Word *>(to), low, __ATOMIC_RELAXED);
            __atomic_store_n(reinterpret_cast<Word *>(to) + 1, high, __ATOMIC_RELAXED);
#else
            *reinterpret_cast<Both *>(to) = Both{low, high};
#endif
        }
        // Whoever looks at a block that isn't his may find that the memory is the program's by now, which writes as it
        // likes: no race that could be mended.
        __attribute__((no_sanitize("thread", "alignment"))) void get(const char *from) {
            low = __atomic_load_n(reinterpret_cast<const Word *>(from), __ATOMIC_RELAXED);
            high = __atomic_load_n(reinterpret_cast<const Word *>(from) + 1, __ATOMIC_RELAXED);
        }
    };

    static char *place_of(void *block) { return static_cast<char *>(block) - kBytes; }
    static const char *place_of(const void *block) { return static_cast<const char *>(block) - kBytes; }
};

static_assert(sizeof(BlockHeader) == BlockHeader::kBytes);
static_assert(offsetof(BlockHeader, marker) == BlockHeader::kBytes - 1);
static_assert(offsetof(BlockHeader, checksum) == 8 && std::endian::native == std::endian::little);
static_assert(BlockHeader::kRun >= header_byte::kLargeFirst && BlockHeader::kFreedAligned < 0xFF);

}  // namespace hakmem
