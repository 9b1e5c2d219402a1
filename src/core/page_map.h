// The page map: from any address to the span it lies in, without a lock. A radix tree over units of 2 MiB; a leaf entry
// names a Region (a unit cut into spans, with a span a page), one Span (a mapping that fills its units), or says that
// the unit is ours but free. Units' entries are written under the lock of whoever the units belong to (page heap,
// guarded pages), read by anyone at any time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bits.h"
#include "core/span.h"
#include "core/watch.h"
#include "os/pages.h"

namespace hakmem {

inline constexpr std::size_t kUnitBytes = std::size_t{2} << 20;
inline constexpr unsigned kPagesInUnit = kUnitBytes / os::kPageBytes;

struct Region;
struct PageEntry;

class PageMap {
  public:
    struct Entry {
        std::uintptr_t word;  // 0: not ours; else tagged in its low bits
        static constexpr std::uintptr_t kSpan = 1, kFreeUnit = 2, kTags = 3;

        bool ours() const { return word != 0; }
        bool is_region() const { return word != 0 && (word & kTags) == 0; }
        Region *region() const { return pointer_to<Region>(word); }
        Span *span() const { return (word & kSpan) != 0 ? pointer_to<Span>(word & ~kTags) : nullptr; }
    };

    Entry find(std::uintptr_t address) const {
        if (address >> kAddressBits != 0) return {0};
        const Leaf *leaf = root_[address >> kLeafShift].load(std::memory_order_acquire);
        if (leaf == nullptr) return {0};
        return {leaf->entries[(address >> kUnitShift) % kLeafEntries].load(std::memory_order_acquire)};
    }

    // visit(Entry) for every unit that is ours, by address, until it returns false; false if it did.
    template <class Visit>
    bool for_each_entry(Visit visit) const {
        const std::uintptr_t end = end_.load(std::memory_order_acquire);
        for (std::uintptr_t unit = ~before_begin_.load(std::memory_order_acquire); unit < end; ++unit) {
            const Leaf *leaf = root_[unit / kLeafEntries].load(std::memory_order_acquire);
            if (leaf == nullptr) {
                unit |= kLeafEntries - 1;
                continue;
            }
            const Entry entry{leaf->entries[unit % kLeafEntries].load(std::memory_order_acquire)};
            if (entry.ours() && !visit(entry)) return false;
        }
        return true;
    }

    // The span that holds `address`, nullptr if none.
    Span *span_of(std::uintptr_t address) const;

    // What its region knows of the page that `address` is on; empty where that is in no region.
    PageEntry page_of(std::uintptr_t address) const;

    // Makes room for the entries of [start, start + units * kUnitBytes); false if memory is short.
    bool reserve(std::uintptr_t start, std::size_t units);
    // Only after reserve.
    void set(std::uintptr_t start, std::size_t units, std::uintptr_t word);

  private:
    static constexpr unsigned kUnitShift = 21;
    static constexpr unsigned kLeafBits = 13;
    static constexpr unsigned kLeafShift = kUnitShift + kLeafBits;
    static constexpr std::size_t kLeafEntries = std::size_t{1} << kLeafBits;
    // User space without the extended addresses that the kernel gives only on demand.
    static constexpr unsigned kAddressBits = 48;
    static_assert(kUnitBytes == std::size_t{1} << kUnitShift);

    struct Leaf {
        std::atomic<std::uintptr_t> entries[kLeafEntries];
    };

    std::atomic<Leaf *> root_[std::size_t{1} << (kAddressBits - kLeafShift)];
    // Units that were ever ours lie between these, so that a sweep touches no more of the map than it has to. The first
    // is kept as its complement, which like the other only rises from zero.
    std::atomic<std::uintptr_t> before_begin_{0}, end_{0};
};

// What a region knows of one page: its span, and that one's size class, which a check of every free asks for.
struct PageEntry {
    std::uint64_t word;  // 0: in no span; else what it is in the lowest 16 bits, and above them the span's address

    static constexpr unsigned kSpanShift = 16;
    static constexpr std::uint16_t kSmall = 0x8000;  // of small slots; with the class below

    static PageEntry of(Span *span) {
        return {std::uint64_t{address_of(span)} << kSpanShift |
                (span->kind == SpanKind::small ? kSmall | span->size_class : 0u)};
    }

    Span *span() const { return pointer_to<Span>(word >> kSpanShift); }
    bool is_small() const { return (word & kSmall) != 0; }
    // Of small slots.
    std::size_t size_class() const { return word & (kSmall - 1u); }
    bool is_small(std::size_t size_class) const {
        return static_cast<std::uint16_t>(word) == static_cast<std::uint16_t>(kSmall | size_class);
    }
};

// A unit of 2 MiB cut into spans. Lives out of line; lists and bitmaps belong to the page heap.
struct Region {
    std::uintptr_t start;
    // One note a granule of the unit (notes.h); made when many blocks of a span here are watched.
    std::atomic<BlockNote *> notes;
    std::atomic<std::uint64_t> pages[kPagesInUnit];  // PageEntry

    PageEntry page(std::size_t index) const { return {pages[index].load(std::memory_order_acquire)}; }
    PageEntry page_at(std::uintptr_t address) const { return page(address % kUnitBytes / os::kPageBytes); }
    void give(unsigned first, unsigned count, PageEntry entry) {
        for (unsigned i = 0; i < count; ++i) pages[first + i].store(entry.word, std::memory_order_release);
    }
};

inline Span *PageMap::span_of(std::uintptr_t address) const {
    const Entry entry = find(address);
    if (entry.is_region()) [[likely]]
        return entry.region()->page_at(address).span();
    Span *span = entry.span();
    return span != nullptr && address >= span->start && address < span->end() ? span : nullptr;
}

inline PageEntry PageMap::page_of(std::uintptr_t address) const {
    const Entry entry = find(address);
    return entry.is_region() ? entry.region()->page_at(address) : PageEntry{0};
}

extern constinit PageMap page_map;

}  // namespace hakmem
