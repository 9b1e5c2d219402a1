// What each kind of incident means, in plain words.
#pragma once

#include "incident/incident.h"
#include "segment/layout.h"

namespace hakmem {

struct KindText {
    segment::Kind kind;
    const char *what;        // what happened
    const char *free_title;  // what the incident's own stack is
};

inline constexpr KindText kKindTexts[] = {
    {segment::Kind::double_free, "a block was freed that was free already", "Freed again here"},
    {segment::Kind::header_overwritten, "the header byte in front of a live block was overwritten",
     "Found when the block was freed here"},
    {segment::Kind::interior_pointer, "a pointer into the middle of a block was freed", "Freed here"},
    {segment::Kind::foreign_pointer, "a pointer was freed that no allocator handed out", "Freed here"},
    {segment::Kind::large_header_corrupt, "the 16-byte header in front of a block fails its checksum",
     "Found when the block was freed here"},
    {segment::Kind::redzone_overwritten, "bytes past the end of a block were overwritten",
     "Found when the block was freed here"},
    {segment::Kind::use_after_free_write, "a block was written to after it was freed", "Found here"},
    {segment::Kind::guard_page_access, "memory outside of a block, or of a freed one, was accessed", "Accessed here"},
    {segment::Kind::header_write_caught, "the write that overwrites a block's header was caught in the act",
     "Caught here"},
    {segment::Kind::alloc_dealloc_mismatch, "a block was freed by a function that does not match its allocation",
     "Freed here"},
    {segment::Kind::size_mismatch, "a block was freed with a size that is not its own", "Freed here"},
};

static_assert(
    [] {
        for (unsigned i = 0; i < segment::kKinds; ++i)
            if (static_cast<unsigned>(kKindTexts[i].kind) != i) return false;
        return std::size(kKindTexts) == segment::kKinds;
    }(),
    "one row a kind, in the order of the enumeration");

}  // namespace hakmem
