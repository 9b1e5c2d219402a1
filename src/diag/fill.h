// Bytes that nobody may change: slack behind a block's asked size, and freed memory. Filled and checked by wide words:
// `guard` does both for every block.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/bits.h"
#include "os/pages.h"
#include "segment/layout.h"

namespace hakmem::fill {

inline constexpr std::uint8_t kSlack = segment::kSlackFill;
inline constexpr std::uint8_t kFreed = segment::kFreedFill;

// The program's memory, by words at any address; named in casts only, as a template argument would be an aligned one.
typedef std::uint64_t Word __attribute__((aligned(1), may_alias));
typedef std::uint64_t Wide __attribute__((vector_size(16), aligned(1), may_alias));

constexpr std::uint64_t pattern_of(std::uint8_t byte) { return 0x0101010101010101u * byte; }

inline bool differ(Wide bits) { return (bits[0] | bits[1]) != 0; }

// Lengths are as good as random, and so is a branch on them: up to kShort, the same four places for all.
constexpr std::size_t kShort = 4 * sizeof(Wide);
// From here on libc's memset is faster: it knows wider words.
constexpr std::size_t kLong = 4 * kShort;

// f(place of a Wide) for places that together are [begin, end), of sizeof(Wide) to kShort bytes.
template <class F>
[[gnu::always_inline]] inline void for_short(std::uintptr_t begin, std::uintptr_t end, F f) {
    const std::uintptr_t last = end - sizeof(Wide);
    const std::size_t step = std::min(sizeof(Wide), last - begin);
    f(begin), f(begin + step), f(last - step), f(last);
}

// The same for any end - begin of sizeof(Wide) or more.
template <class F>
[[gnu::always_inline]] inline void for_places(std::uintptr_t begin, std::uintptr_t end, F f) {
    if (end - begin > kShort) {
        for (; end - begin > kShort; begin += kShort) for_short(begin, begin + kShort, f);
        begin = end - kShort;
    }
    for_short(begin, end, f);
}

// A function by itself, and so is the check: within its callers, they would push everything else out of the registers.
template <std::uint8_t kByte>
[[gnu::noinline]] inline void put(std::uintptr_t begin, std::uintptr_t end) {
    const std::size_t bytes = end - begin;
    if (bytes - sizeof(Wide) > kLong - sizeof(Wide)) [[unlikely]] {
        if (begin < end) std::memset(pointer_to(begin), kByte, bytes);
        return;
    }
    constexpr Wide pattern = {pattern_of(kByte), pattern_of(kByte)};
    for_places(
        begin, end, [&](std::uintptr_t at) __attribute__((always_inline)) { *reinterpret_cast<Wide *>(at) = pattern; });
}

// The first byte in [begin, end) that isn't `byte`; `end` if all are. Whoever has the block may write to it while an
// audit looks: no race that could be mended, and so none that ThreadSanitizer is to tell of.
__attribute__((no_sanitize("thread", "alignment"))) inline std::uintptr_t first_changed(std::uintptr_t begin,
                                                                                        std::uintptr_t end,
                                                                                        std::uint8_t byte) {
    const std::uint64_t word = pattern_of(byte);
    const Wide pattern = {word, word};
    constexpr std::size_t kWide = sizeof(Wide), kStep = 4 * kWide;
    if (end - begin >= kWide) {
        while (end - begin >= kStep) {
            const Wide *at = reinterpret_cast<const Wide *>(begin);  // auto would be an aligned one
            if (differ(((at[0] ^ pattern) | (at[1] ^ pattern)) | ((at[2] ^ pattern) | (at[3] ^ pattern)))) break;
            begin += kStep;
        }
        while (end - begin >= kWide && !differ(*reinterpret_cast<const Wide *>(begin) ^ pattern)) begin += kWide;
        // What is left of them is the end of the last one.
        if (end - begin < kWide && !differ(*reinterpret_cast<const Wide *>(end - kWide) ^ pattern)) return end;
    }
    while (end - begin >= sizeof word && *reinterpret_cast<const Word *>(begin) == word) begin += sizeof word;
    while (begin < end && *pointer_to<const std::uint8_t>(begin) == byte) ++begin;
    return begin;
}

// All of [begin, end), at least sizeof(Wide) bytes, are `kByte`, as they nearly always are: for the owner's own check.
template <std::uint8_t kByte>
[[gnu::noinline]] __attribute__((no_sanitize("thread", "alignment"))) inline bool is_whole(std::uintptr_t begin,
                                                                                           std::uintptr_t end) {
    constexpr Wide pattern = {pattern_of(kByte), pattern_of(kByte)};
    Wide changed = {};
    for_places(
        begin, end, [&](std::uintptr_t at) __attribute__((always_inline)) {
            changed |= *reinterpret_cast<const Wide *>(at) ^ pattern;
        });
    return !differ(changed);
}

// Of freed memory beyond a size, only so much at both ends is filled and checked, and a line of each page in between: a
// write of less than a page far from both ends may go unseen then, but a free of megabytes costs no millisecond.
inline constexpr std::size_t kEnds = std::size_t{16} << 10;
inline constexpr std::size_t kLine = 64;

// f(begin, end) for each part, until it returns false; false if it did.
template <class F>
bool for_freed_parts(std::uintptr_t begin, std::uintptr_t end, F f) {
    if (end - begin <= 2 * kEnds) return f(begin, end);
    if (!f(begin, begin + kEnds)) return false;
    const std::uintptr_t last = end - kEnds;
    for (std::uintptr_t at = align_up(begin + kEnds, os::kPageBytes); at + kLine <= last; at += os::kPageBytes)
        if (!f(at, at + kLine)) return false;
    return f(last, end);
}

inline void put_freed(std::uintptr_t begin, std::uintptr_t end) {
    if (begin >= end) return;
    for_freed_parts(begin, end, [](std::uintptr_t from, std::uintptr_t to) {
        put<kFreed>(from, to);
        return true;
    });
}

// The first byte of freed memory that find(begin, end) gives in a part of it; `end` if it gives the part's end for all.
template <class Find>
std::uintptr_t first_changed_freed(std::uintptr_t begin, std::uintptr_t end, Find find) {
    if (begin >= end) return end;
    std::uintptr_t changed = end;
    for_freed_parts(begin, end, [&](std::uintptr_t from, std::uintptr_t to) {
        const std::uintptr_t found = find(from, to);
        if (found != to) changed = found;
        return found == to;
    });
    return changed;
}

inline std::uintptr_t first_changed_freed(std::uintptr_t begin, std::uintptr_t end) {
    return first_changed_freed(begin, end,
                               [](std::uintptr_t from, std::uintptr_t to) { return first_changed(from, to, kFreed); });
}

}  // namespace hakmem::fill
