#include "diag/audit.h"

#include <sched.h>

#include <atomic>

#include "core/block_header.h"
#include "core/guarded_pages.h"
#include "core/header_byte.h"
#include "core/notes.h"
#include "core/slot_state.h"
#include "core/sweep.h"
#include "diag/evidence.h"
#include "diag/incident.h"
#include "diag/state.h"
#include "diag/undisturbed.h"
#include "diag/watch.h"
#include "os/pages.h"
#include "os/readable.h"

namespace hakmem::audit {
namespace {

using segment::CounterShard;

// One at a time, and never two within a signal handler.
constinit std::atomic<bool> running{false};
constinit std::atomic<std::uint64_t> last_ms{0};

class Sweep {
  public:
    Sweep(CounterShard &shard, std::uint64_t most_ns) : shard_(shard), deadline_ns_(os::monotonic_ns() + most_ns) {}

    Result run() {
        result_.complete = sweep_spans([this](Span &span) { return visit(span); });
        return result_;
    }

  private:
    bool visit(Span &span) {
        const std::uintptr_t start = span.start;
        switch (span.kind) {
            case SpanKind::small:
                visit_small(span, start);
                break;
            case SpanKind::run:
            case SpanKind::mapping:
                visit_large(span, start);
                break;
            case SpanKind::guarded:
                visit_guarded(span, start);
                break;
            case SpanKind::unused:
                break;
        }
        return os::monotonic_ns() <= deadline_ns_;
    }

    void visit_small(Span &span, std::uintptr_t start) {
        const std::uint8_t size_class = span.size_class;
        const std::uint32_t carved = span.carved;
        const std::uint32_t headers = headers_of(span);
        const bool noted = span.watched;
        result_.headers += headers;
        const std::size_t step = size_classes::kSlotBytes[size_class];
        std::uintptr_t block = start + size_classes::kFirstSlot;
        for (std::uint32_t i = 0; i < headers; ++i, block += step) {
            const std::uint8_t header = header_byte::load(pointer_to(block));
            if (!is_header_of(header, size_class)) [[unlikely]]
                look_again(span, start, i, size_class, header);
            else if (noted && i < carved)
                visit_slots_note(span, i, block);
        }
    }

    void look_again(Span &span, std::uintptr_t start, std::uint32_t index, std::uint8_t size_class,
                    std::uint8_t found) {
        if (!stays_wrong([&] { return is_still_found(span, start, index, size_class, found); })) return;
        Finding finding = overwritten_small(span, index, found, true);
        BlockFacts &facts = finding.facts;
        Evidence evidence = evidence_of(facts);
        evidence.found_later = true;
        // Made good right behind the last look: later, the memory may be somebody else's.
        if (!header_byte::replace(pointer_to(facts.block), found, facts.header_expected)) return;
        ++result_.corrupt;
        record_incident(shard_, finding, evidence);
    }

    void visit_slots_note(Span &span, std::uint32_t index, std::uintptr_t block) {
        if (BlockNote *note = note_of(&span, index, false); note != nullptr)
            visit_note(block, watched_small(block, &span, index, note));
    }

    // Slack and quarantined memory of a watched block. The block and its note may change at any moment, as its owner
    // goes on: so each look starts anew.
    void visit_note(std::uintptr_t block, Watched watched) {
        if (!looks_bad(watched)) return;
        if (!stays_wrong([&] { return find_watched(block, watched) && watched.block == block && looks_bad(watched); }))
            return;
        if (Watcher::report_found(shard_, as_seen(watched))) ++result_.corrupt;
        // The owner's own check is not to find it once more.
        if (Note(&seen_).told() && is_its_note(watched)) Note(watched.note).set_told();
    }

    bool looks_bad(const Watched &watched) {
        return read_note(watched, seen_) && !Watcher::looks_well(as_seen(watched));
    }

    Watched as_seen(Watched watched) {
        watched.note = &seen_;
        return watched;
    }

    void visit_large(Span &span, std::uintptr_t start) {
        const std::uint32_t offset = span.user_offset;
        if (offset == 0) return;  // not handed out yet, or its pages are on the move
        ++result_.headers;
        if (large_header_holds(span)) {
            if (span.watched) visit_note(start + offset, watched_large(&span));
            return;
        }
        const auto is_wrong = [&] {
            return still_there(&span, start) && span.user_offset == offset && !large_header_holds(span);
        };
        if (!stays_wrong(is_wrong)) return;
        Finding finding = overwritten_large(span);
        BlockFacts &facts = finding.facts;
        Evidence evidence = evidence_of(facts);
        evidence.found_later = true;
        if (!still_there(&span, start)) return;
        PageHeap::mark(&span, pointer_to(facts.address));
        ++result_.corrupt;
        record_incident(shard_, finding, evidence);
    }

    // A block between guard pages may be freed, and be out of bounds, at any moment.
    void visit_guarded(Span &span, std::uintptr_t start) {
        if (span.freed) return;
        ++result_.headers;
        std::uint8_t found = 0;
        if (!guarded_header_hurt(span, found)) return visit_note(span.start + span.user_offset, watched_large(&span));
        if (!stays_wrong([&] { return still_there(&span, start) && guarded_header_hurt(span, found); })) return;
        BlockFacts facts;
        facts.address = facts.block = start + span.user_offset;
        facts.owner = Owner::guarded;
        facts.at_start = true;
        facts.state = SlotState::in_use;
        facts.header_known = true;
        facts.header_found = found;
        facts.header_expected = BlockHeader::kGuarded;
        facts.slot_bytes = span.bytes;
        facts.mapped = true;
        Evidence evidence = evidence_of(facts);
        evidence.found_later = true;
        if (!os::safe_write(facts.block - 1, &facts.header_expected, 1)) return;
        ++result_.corrupt;
        record_incident(shard_, {facts, Kind::header_overwritten, HeaderInvalid::recovered}, evidence);
    }

    static bool guarded_header_hurt(const Span &span, std::uint8_t &found) {
        const std::uintptr_t block = span.start + span.user_offset;
        return GuardedPages::has_header(block) && os::safe_read(block - 1, &found, 1) && found != BlockHeader::kGuarded;
    }

    CounterShard &shard_;
    std::uint64_t deadline_ns_;
    Result result_;
    BlockNote seen_{};  // what the last look saw
};

}  // namespace

Result run(CounterShard &shard, std::uint64_t most_ns) {
    if (running.exchange(true)) return {};
    const Undisturbed undisturbed;
    segment::Header &header = state.segment.header();
    const std::uint32_t asked = requested(header);
    Result result = Sweep(shard, most_ns).run();
    result.ran = true;
    shard.headers_audited += result.headers;
    ++shard.audits;
    std::atomic_ref(header.audit_corrupt).fetch_add(result.corrupt);
    last_ms = os::coarse_milliseconds();
    std::atomic_ref(header.audits_done).store(asked, std::memory_order_release);
    running = false;
    return result;
}

void restart_after_fork() { running = false; }

void run_if_due(CounterShard &shard) {
    const std::uint32_t interval = state.audit_interval_s.load(std::memory_order_relaxed);
    if (interval != 0 && !is_requested()) {
        const std::uint64_t now = os::coarse_milliseconds();
        std::uint64_t last = last_ms.load(std::memory_order_relaxed);
        if (now >= last + std::uint64_t{interval} * 1000 && last_ms.compare_exchange_strong(last, now))
            run(shard, kMostNs);
    }
    // Whoever asks while an audit is going on may find nobody awake but the thread that makes it.
    while (is_requested() && run(shard, kMostNs).ran) {
    }
}

}  // namespace hakmem::audit
