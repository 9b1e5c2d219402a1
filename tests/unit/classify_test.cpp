#include "core/classify.h"

#include <gtest/gtest.h>

#include "core/header_byte.h"

namespace hakmem {
namespace {

BlockFacts small_block(bool at_start, SlotState state, std::uint8_t header) {
    BlockFacts facts;
    facts.address = 0x10010;
    facts.owner = Owner::small;
    facts.at_start = at_start;
    facts.state = state;
    facts.header_known = true;
    facts.header_found = header;
    facts.block = at_start ? 0x10010 : 0x10000;
    return facts;
}

struct Case {
    const char *what;
    BlockFacts facts;
    Kind kind;
    HeaderInvalid outcome;
    bool incident;
};

BlockFacts of(Owner owner, bool at_start = false, bool next_allocators = false) {
    BlockFacts facts;
    facts.owner = owner;
    facts.at_start = at_start;
    facts.next_allocators = next_allocators;
    return facts;
}

TEST(Classify, EveryCase) {
    BlockFacts aligned_freed = small_block(false, SlotState::free_slot, BlockHeader::kFreedAligned);
    aligned_freed.header16_valid = true;
    BlockFacts aligned_hurt = small_block(false, SlotState::in_use, 'x');
    aligned_hurt.header16_hurt = true;
    const Case cases[] = {
        {"live slot, NUL in its header", small_block(true, SlotState::in_use, 0), Kind::header_overwritten,
         HeaderInvalid::recovered, true},
        {"live slot, another class's header", small_block(true, SlotState::in_use, header_byte::live(9)),
         Kind::header_overwritten, HeaderInvalid::recovered, true},
        {"free slot", small_block(true, SlotState::free_slot, header_byte::free(2)), Kind::double_free,
         HeaderInvalid::rejected, true},
        {"inside a live slot", small_block(false, SlotState::in_use, 'x'), Kind::interior_pointer,
         HeaderInvalid::rejected, true},
        {"inside a free slot", small_block(false, SlotState::free_slot, 'x'), Kind::interior_pointer,
         HeaderInvalid::rejected, true},
        {"slot never handed out", small_block(true, SlotState::never_used, 0), Kind::interior_pointer,
         HeaderInvalid::rejected, true},
        {"aligned block freed before", aligned_freed, Kind::double_free, HeaderInvalid::rejected, true},
        {"aligned block with a hurt header", aligned_hurt, Kind::large_header_corrupt, HeaderInvalid::rejected, true},
        {"start of a run", of(Owner::large, true), Kind::large_header_corrupt, HeaderInvalid::recovered, true},
        {"inside a run", of(Owner::large), Kind::interior_pointer, HeaderInvalid::rejected, true},
        {"pages that are free", of(Owner::free_pages), Kind::double_free, HeaderInvalid::rejected, true},
        {"nobody's", of(Owner::nobody), Kind::foreign_pointer, HeaderInvalid::rejected, true},
        {"the next allocator's", of(Owner::nobody, false, true), Kind::foreign_pointer, HeaderInvalid::foreign, false},
    };
    for (const Case &c : cases) {
        const Finding finding = classify(c.facts);
        EXPECT_EQ(finding.kind, c.kind) << c.what;
        EXPECT_EQ(finding.outcome, c.outcome) << c.what;
        EXPECT_EQ(finding.incident, c.incident) << c.what;
        EXPECT_EQ(finding.facts.address, c.facts.address) << c.what;
    }
}

}  // namespace
}  // namespace hakmem
