// A span: a run of pages cut for one purpose, and everything that is known about it. Metadata lie out of line, away
// from user data, in memory that is never unmapped or used for anything else, so a stale pointer to a Span is always
// readable. Small spans keep one bit a slot: `free_bits` belongs to the owning heap (under its lock), `remote_bits`
// takes frees from other threads by atomic or. What is Relaxed here is looked at without a lock, by frees that are
// verified, reports and audits. No link runs through user memory, so no write after free can bend one.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/relaxed.h"
#include "core/size_classes.h"
#include "core/watch.h"

namespace hakmem {

class Heap;

enum class SpanKind : std::uint8_t { unused, small, run, mapping, guarded };

// Doubly linked membership in one of the lists a span can be in.
struct SpanLink {
    struct Span *prev;
    struct Span *next;
};

struct Span {
    Relaxed<std::uintptr_t> start;  // first byte of the pages
    Relaxed<std::size_t> bytes;
    Relaxed<SpanKind> kind;
    Relaxed<std::uint8_t> size_class;    // small
    bool in_partial;                     // small: in its heap's list of spans with room
    bool zeroed;                         // run: pages have never been written since the OS gave them
    bool emptied;                        // run: all pages but the first have been moved elsewhere
    Relaxed<bool> watched;               // run, mapping: its block is watched; small: some slots have notes
    Relaxed<bool> freed;                 // guarded: the program has freed it
    Relaxed<std::uint32_t> user_offset;  // run, mapping, guarded: from start to the block's user memory
    Relaxed<std::uint32_t> slots;        // small
    Relaxed<std::uint32_t> carved;       // small: slots [0, carved) have been handed out before and carry a header
    Relaxed<std::uint32_t> free_count;   // small: bits set in free_bits()
    std::uint32_t words;                 // small: words in each bitmap
    std::uint32_t fresh_pages;           // at the end of it, that had never been written when it was cut
    std::atomic<std::uint64_t> *remote_bits;

    std::atomic<Heap *> owner;
    // Bits set in remote_bits or about to be, plus kRemotePin for each thread that is in the middle of that: a pinned
    // span is not released, however free it looks.
    std::atomic<std::uint32_t> remote_count;
    static constexpr std::uint32_t kRemotePin = 1u << 16;
    std::atomic<bool> remote_posted;      // is on a heap's remote stack
    Relaxed<std::uint16_t> single_notes;  // small: of its slots, that lie by themselves (notes.h)
    Span *next_remote;

    SpanLink partial;  // heap's spans of one class with room
    SpanLink all;      // heap's spans

    // Small: where so many of its slots have notes that these lie in rows (notes.h), its chunk of the first row.
    // Whoever sees it sees the memory too, which another thread may have made.
    std::atomic<BlockNote *> notes;
    BlockNote note;  // run, mapping, guarded: of the block, if watched; small: which slots may have notes (notes.h)

    // Small: a bit a slot that lies here for the owner to take. Right behind the record, so that a check of a free
    // looks at neighbouring lines.
    Relaxed<std::uint64_t> *free_bits() { return reinterpret_cast<Relaxed<std::uint64_t> *>(this + 1); }
    const Relaxed<std::uint64_t> *free_bits() const {
        return reinterpret_cast<const Relaxed<std::uint64_t> *>(this + 1);
    }
    bool is_home(std::uint32_t index) const { return (free_bits()[index / 64] >> (index % 64) & 1) != 0; }

    std::uintptr_t first_slot() const { return start + size_classes::kFirstSlot; }
    std::uintptr_t end() const { return start + bytes; }
    std::size_t slot_bytes() const { return size_classes::kSlotBytes[size_class]; }
    std::uintptr_t slot(std::uint32_t index) const { return first_slot() + index * slot_bytes(); }

    // Slot whose bytes hold `address`; `slots` or more if none (before the first slot the result is meaningless: test
    // with address >= first_slot()).
    std::uint32_t slot_of(std::uintptr_t address) const {
        return size_classes::slot_index(size_class, address - first_slot());
    }

    bool slot_start(std::uintptr_t address, std::uint32_t &index) const {
        if (address < first_slot()) return false;
        index = slot_of(address);
        return index < slots && slot(index) == address;
    }

    // Racy for anyone but the owner under its lock; good enough for a report.
    bool marked_free(std::uint32_t index) const {
        return is_home(index) || (remote_bits[index / 64].load(std::memory_order_relaxed) >> (index % 64) & 1) != 0;
    }

    // Nobody has a block of it or is about to touch it. Under the owner's lock.
    bool idle() const {
        return free_count == carved && remote_count.load(std::memory_order_acquire) < kRemotePin &&
               !remote_posted.load(std::memory_order_acquire);
    }
};

// A list through one of a span's links.
template <SpanLink Span::*Link>
struct SpanList {
    Relaxed<Span *> head;  // whether there is any is asked without the lock

    void push_front(Span *span) {
        Span *first = head;
        (span->*Link).prev = nullptr;
        (span->*Link).next = first;
        if (first != nullptr) (first->*Link).prev = span;
        head = span;
    }
    void remove(Span *span) {
        SpanLink &link = span->*Link;
        if (link.prev != nullptr)
            (link.prev->*Link).next = link.next;
        else
            head = link.next;
        if (link.next != nullptr) (link.next->*Link).prev = link.prev;
        link.prev = link.next = nullptr;
    }
    Span *pop_front() {
        Span *span = head;
        if (span != nullptr) remove(span);
        return span;
    }
};

}  // namespace hakmem
