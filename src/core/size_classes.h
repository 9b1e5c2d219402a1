// The 32 size classes of small blocks, as data. A slot of S bytes gives S - 1: its last byte is the header of the next
// slot. So from 144 up each class stands 16 bytes above a quarter step, and the common powers of two do not fall into
// the next step. Laws are static_asserts here; tests/unit/size_classes_test prints the internal waste.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/header_byte.h"
#include "os/pages.h"

namespace hakmem::size_classes {

inline constexpr unsigned kCount = header_byte::kClasses;
inline constexpr std::size_t kGranule = 16;

inline constexpr std::array<std::uint32_t, kCount> kSlotBytes = {
    16,   32,   48,   64,   80,   96,   112,  128,   // by 16
    144,  176,  208,  240,  272,  336,  400,  464,   // four a doubling, plus 16
    528,  656,  784,  912,  1040, 1296, 1552, 1808,  //
    2064, 2576, 3088, 3600, 4112, 5136, 6160, 8208,
};

inline constexpr std::size_t kMaxSlotBytes = kSlotBytes[kCount - 1];
// The largest request that a small block serves.
inline constexpr std::size_t kMaxSmall = kMaxSlotBytes - 1;

// Pages of a span of small slots: the same for every class, so that an empty span serves any other class next.
inline constexpr unsigned kSpanPages = 16;
inline constexpr std::size_t kSpanBytes = kSpanPages * os::kPageBytes;

// The first slot starts one granule into the span, so that its header byte is in the span too; the last slot is
// followed by a header byte as well, which closes the span.
inline constexpr std::size_t kFirstSlot = kGranule;

constexpr std::uint32_t slots_in_span(unsigned size_class) {
    return static_cast<std::uint32_t>((kSpanBytes - kFirstSlot) / kSlotBytes[size_class]);
}

// Index by request / kGranule: slots of (index + 1) granules are the smallest that leave a byte for the next header.
inline constexpr std::size_t kLookupEntries = kMaxSmall / kGranule + 1;

inline constexpr auto kClassOfGranules = [] {
    std::array<std::uint8_t, kLookupEntries> table{};
    unsigned size_class = 0;
    for (std::size_t i = 0; i < kLookupEntries; ++i) {
        while (kSlotBytes[size_class] < (i + 1) * kGranule) ++size_class;
        table[i] = static_cast<std::uint8_t>(size_class);
    }
    return table;
}();

// Only for request <= kMaxSmall.
inline std::size_t of_request(std::size_t request) { return kClassOfGranules[request / kGranule]; }

constexpr std::size_t usable_bytes(unsigned size_class) { return kSlotBytes[size_class] - 1; }

// Slot index of an offset from the first slot: offset * kReciprocal >> 32 is offset / slot for offsets in a span.
inline constexpr auto kReciprocal = [] {
    std::array<std::uint32_t, kCount> table{};
    for (unsigned c = 0; c < kCount; ++c)
        table[c] = static_cast<std::uint32_t>(((std::uint64_t{1} << 32) + kSlotBytes[c] - 1) / kSlotBytes[c]);
    return table;
}();

constexpr std::uint32_t slot_index(std::size_t size_class, std::size_t offset) {
    return static_cast<std::uint32_t>(offset * kReciprocal[size_class] >> 32);
}

// Whether an offset is a slot's first byte is told by the part of the same product that slot_index drops.
struct SlotPlace {
    std::uint32_t index;
    bool at_start;
};
constexpr SlotPlace place_of(std::size_t size_class, std::uint32_t offset) {
    const std::uint64_t reciprocal = kReciprocal[size_class];
    const std::uint64_t product = offset * reciprocal;
    return {static_cast<std::uint32_t>(product >> 32), static_cast<std::uint32_t>(product) < reciprocal};
}

constexpr bool laws_hold() {
    for (unsigned c = 0; c < kCount; ++c) {
        const std::size_t slot = kSlotBytes[c];
        if (slot % kGranule != 0 || slots_in_span(c) == 0) return false;
        if (c > 0 && slot <= kSlotBytes[c - 1]) return false;
        // No class wastes more than a quarter and a granule on the request that just missed the class below.
        if (c > 0 && slot - kSlotBytes[c - 1] > slot / 3 + kGranule) return false;
        for (std::size_t i = 0; i < slots_in_span(c); ++i)
            if (slot_index(c, i * slot) != i || slot_index(c, i * slot + slot - 1) != i) return false;
    }
    return true;
}
static_assert(laws_hold());

}  // namespace hakmem::size_classes
