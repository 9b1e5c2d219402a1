#include "core/sweep.h"

#include <time.h>

#include "core/block_header.h"
#include "core/slot_state.h"
#include "os/readable.h"

namespace hakmem {

void pause_between_looks() {
    const timespec nap{0, 500'000};
    nanosleep(&nap, nullptr);
}

namespace {

bool is_header_of_large(const BlockHeader &header, std::uintptr_t block) {
    return header.valid_for(pointer_to(block)) &&
           (header.marker == BlockHeader::kRun || header.marker == BlockHeader::kFreedRun);
}

}  // namespace

bool large_header_holds(const Span &span) {
    const std::uintptr_t block = span.start + span.user_offset;
    BlockHeader header;
    // A mapping may be unmapped at any moment.
    if (!os::safe_read(block - BlockHeader::kBytes, &header, sizeof header)) return true;
    return is_header_of_large(header, block);
}

Finding overwritten_small(const Span &span, std::uint32_t index, std::uint8_t found, bool look_into_caches) {
    const std::uint8_t size_class = span.size_class;
    const std::uintptr_t block = span.slot(index);
    const bool is_slot = index < span.carved;
    const bool free = is_slot && (span.marked_free(index) || (look_into_caches && in_a_cache(block, size_class)));
    Finding finding;
    finding.kind = Kind::header_overwritten;
    finding.outcome = HeaderInvalid::recovered;
    BlockFacts &facts = finding.facts;
    facts.address = facts.block = block;
    facts.owner = Owner::small;
    facts.at_start = true;
    facts.state = !is_slot ? SlotState::never_used : free ? SlotState::free_slot : SlotState::in_use;
    facts.header_known = true;
    facts.header_found = found;
    facts.header_expected = free || !is_slot ? header_byte::free(size_class) : header_byte::live(size_class);
    facts.slot_bytes = span.slot_bytes();
    facts.size_class = size_class;
    facts.mapped = true;
    if (index > 0) {
        facts.left_block = span.slot(index - 1);
        facts.left_state = slot_state(span, index - 1);
    }
    return finding;
}

Finding overwritten_large(const Span &span) {
    Finding finding;
    finding.kind = Kind::large_header_corrupt;
    finding.outcome = HeaderInvalid::recovered;
    BlockFacts &facts = finding.facts;
    facts.address = facts.block = span.start + span.user_offset;
    facts.owner = Owner::large;
    facts.at_start = true;
    facts.state = SlotState::in_use;
    facts.header_known = os::safe_read(facts.address - 1, &facts.header_found, 1);
    facts.header_expected = BlockHeader::kRun;
    facts.slot_bytes = span.bytes;
    facts.mapped = true;
    return finding;
}

namespace {

bool find_in_small(const Span &span, Finding &finding) {
    const std::uintptr_t start = span.start;
    const std::uint8_t size_class = span.size_class;
    const std::uint32_t headers = headers_of(span);
    for (std::uint32_t i = 0; i < headers; ++i) {
        const std::uint8_t found = header_byte::load(pointer_to(span.slot(i)));
        if (is_header_of(found, size_class)) [[likely]]
            continue;
        if (!stays_wrong([&] { return is_still_found(span, start, i, size_class, found); })) continue;
        finding = overwritten_small(span, i, found, false);
        return true;
    }
    return false;
}

// Without large_header_holds' system call, which a process that has locked itself in may not make.
bool find_in_run(const Span &span, Finding &finding) {
    const std::uintptr_t start = span.start;
    const auto is_wrong = [&] {
        const std::uint32_t offset = span.user_offset;
        if (offset == 0 || span.kind != SpanKind::run || !still_there(&span, start)) return false;
        const std::uintptr_t block = start + offset;
        return !is_header_of_large(BlockHeader::load(pointer_to(block)), block) && span.user_offset == offset;
    };
    if (!is_wrong() || !stays_wrong(is_wrong)) return false;
    finding = overwritten_large(span);
    return true;
}

}  // namespace

bool find_overwritten(std::uint64_t most_ns, Finding &finding) {
    const std::uint64_t deadline_ns = os::monotonic_ns() + most_ns;
    bool found = false;
    sweep_spans([&](const Span &span) {
        if (span.kind == SpanKind::small)
            found = find_in_small(span, finding);
        else if (span.kind == SpanKind::run)
            found = find_in_run(span, finding);
        return !found && os::monotonic_ns() <= deadline_ns;
    });
    return found;
}

}  // namespace hakmem
