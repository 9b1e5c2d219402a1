// Facts about an address handed to free, and the finding made of them. Plain data: `inspect` (allocator) fills the
// facts, `classify` (classify.h) is the pure function from facts to finding, probes record and present it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "segment/layout.h"

namespace hakmem {

using segment::HeaderInvalid;
using segment::Kind;
using segment::SlotState;

// Who owns the memory that an address points into, by the page map.
enum class Owner : std::uint8_t {
    nobody,      // not memory of ours
    free_pages,  // ours, but in no span or run now
    small,       // a span of small slots
    large,       // a page run or a mapping with a 16-byte header
    guarded,     // a block between guard pages
};

struct BlockFacts {
    std::uintptr_t address = 0;  // what was handed to free
    Owner owner = Owner::nobody;
    bool at_start = false;                 // address is where the block's user memory starts
    SlotState state = SlotState::unknown;  // by metadata and, for a slot start, by its header byte
    bool header_known = false;             // the header byte could be read
    std::uint8_t header_found = 0;
    std::uint8_t header_expected = 0;  // for a live block here
    bool header16_valid = false;       // a 16-byte header of ours with a right checksum stands before the address
    bool header16_hurt = false;        // one of an aligned block stands there, and some of it was overwritten
    std::uintptr_t block = 0;          // start of user memory of the slot or run around the address, 0 if none
    std::size_t slot_bytes = 0;        // slot size, or the run's bytes
    std::uint8_t size_class = 0;       // if owner is small
    // The slot to the left of `block`: whoever runs over its end hits our header first.
    std::uintptr_t left_block = 0;  // 0: none
    SlotState left_state = SlotState::unknown;
    bool mapped = false;           // the page of `address` is mapped (page map or mincore)
    bool next_allocators = false;  // looks like a live block of the next allocator in line
};

struct Finding {
    BlockFacts facts;
    Kind kind = Kind::foreign_pointer;
    HeaderInvalid outcome = HeaderInvalid::rejected;
    // False for a pointer that was passed on to the next allocator: counted, no incident.
    bool incident = true;
};

}  // namespace hakmem
