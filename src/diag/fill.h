// Bytes that nobody may change: slack behind a block's asked size, and freed memory. Filled and checked a word at a
// time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "segment/layout.h"

namespace hakmem::fill {

inline constexpr std::uint8_t kSlack = segment::kSlackFill;
inline constexpr std::uint8_t kFreed = segment::kFreedFill;

inline void put(std::uintptr_t begin, std::uintptr_t end, std::uint8_t byte) {
    if (begin < end) std::memset(reinterpret_cast<void *>(begin), byte, end - begin);
}

// A word of the program's memory, which whoever has the block may write to while an audit looks: no race that could be
// mended, and so none that ThreadSanitizer is to tell of. The same below.
__attribute__((no_sanitize("thread"))) inline std::uint64_t word_at(std::uintptr_t at) {
    std::uint64_t word;
    std::memcpy(&word, reinterpret_cast<const void *>(at), sizeof word);
    return word;
}

// The first byte in [begin, end) that isn't `byte`; `end` if all are.
__attribute__((no_sanitize("thread"))) inline std::uintptr_t first_changed(std::uintptr_t begin, std::uintptr_t end,
                                                                           std::uint8_t byte) {
    const std::uint64_t pattern = 0x0101010101010101u * byte;
    while (end - begin >= 4 * sizeof pattern) {
        if (((word_at(begin) ^ pattern) | (word_at(begin + 8) ^ pattern) | (word_at(begin + 16) ^ pattern) |
             (word_at(begin + 24) ^ pattern)) != 0)
            break;
        begin += 4 * sizeof pattern;
    }
    while (end - begin >= sizeof pattern && word_at(begin) == pattern) begin += sizeof pattern;
    while (begin < end && *reinterpret_cast<const std::uint8_t *>(begin) == byte) ++begin;
    return begin;
}

}  // namespace hakmem::fill
