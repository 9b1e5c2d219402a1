// From facts about a bad free to what it is and what is done about it. A pure function, so that every case is tested
// without a heap. Production uses the outcome and the name; the diagnostic layer the whole finding.
#pragma once

#include "core/block_header.h"
#include "core/fault.h"

namespace hakmem {

inline Finding classify(const BlockFacts &facts) {
    Finding finding;
    finding.facts = facts;
    finding.outcome = HeaderInvalid::rejected;
    switch (facts.owner) {
        case Owner::nobody:
            finding.kind = Kind::foreign_pointer;
            if (facts.next_allocators) {
                finding.outcome = HeaderInvalid::foreign;
                finding.incident = false;
            }
            break;
        case Owner::free_pages:
            finding.kind = Kind::double_free;
            break;
        case Owner::small:
            if (facts.at_start && facts.state == SlotState::in_use) {
                finding.kind = Kind::header_overwritten;
                finding.outcome = HeaderInvalid::recovered;
            } else if (facts.state == SlotState::free_slot && (facts.at_start || facts.header16_valid)) {
                finding.kind = Kind::double_free;
            } else if (facts.header16_hurt) {
                finding.kind = Kind::large_header_corrupt;
            } else {
                finding.kind = Kind::interior_pointer;
            }
            break;
        case Owner::guarded:
            if (!facts.at_start) {
                finding.kind = Kind::interior_pointer;
            } else if (facts.state == SlotState::free_slot) {
                finding.kind = Kind::double_free;
            } else {
                finding.kind = Kind::header_overwritten;
                finding.outcome = HeaderInvalid::recovered;
            }
            break;
        case Owner::large:
            if (facts.state == SlotState::free_slot) {
                finding.kind = Kind::double_free;
            } else if (facts.at_start) {
                finding.kind = Kind::large_header_corrupt;
                finding.outcome = HeaderInvalid::recovered;
            } else {
                finding.kind = Kind::interior_pointer;
            }
            break;
    }
    return finding;
}

}  // namespace hakmem
