#include "diag/stack_segments.h"

#include <algorithm>

#include "os/pages.h"

namespace hakmem {

void StackSegments::start() {
    if (table_ == nullptr) table_ = static_cast<Table *>(os::map(sizeof(Table)));
}

void StackSegments::clear() {
    // A signal handler in between leaves the memory alone.
    const std::uintptr_t inside = inside_;
    inside_ = UINTPTR_MAX;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    for (Segment &segment : table_->segments) segment.cfa = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    inside_ = inside;
}

void StackSegments::forget() {
    if (table_ == nullptr) return;
    if (inside_ != 0) return clear();
    Table *table = table_;
    table_ = nullptr;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    os::unmap(table, sizeof(Table));
}

void StackSegments::follow(std::uint64_t changes) {
    if (changes_ == changes) return;
    changes_ = changes;
    if (table_ != nullptr) clear();
}

StackSegments::Step StackSegments::record(Walk &walk, std::uintptr_t end, bool first) {
    const UnwindRules::View rules = unwind_rules.view();
    if (!rules) return Step::unknown;
    const Return from = walk.to;
    Return &to = walk.to;
    const auto place_of = [&](std::uintptr_t address) {
        return static_cast<std::uint16_t>((address - from.cfa) / Return::kWord);
    };
    Segment segment{};
    segment.pointer = from.pointer;
    Step found = Step::done;
    bool ours = first, fits = true;
    do {
        segment.at[segment.frames] = place_of(to.cfa - Return::kWord);
        segment.pc[segment.frames++] = to.pc;
        ours = ours && backtrace::own.holds(to.pc);
        if (ours) {
            ++segment.ours;
        } else {
            segment.key.add(to.pc);
            // Walked to its end all the same, as far as that is known: it may be met where it counts as a whole.
            if (walk.left != 0) {
                walk.key.add(to.pc);
                --walk.left;
            }
        }
        if (walk.left == 0 && !rules.tells(to.pc)) return Step::done;
        const std::uintptr_t callee = to.cfa, pointer = to.pointer;
        UnwindRule rule;
        found = to.step(rules, end, rule);
        if (found == Step::unknown || found == Step::lost) return walk.left != 0 ? found : Step::done;
        if (rule.by_pointer()) {
            if (segment.saves_pointer) {
                segment.check_at[segment.checks] = segment.saved_at;
                segment.check[segment.checks++] = pointer;
            } else {
                segment.pointer_counts = true;
            }
        }
        segment.outermost = found == Step::outermost;
        if (segment.outermost) break;
        if (rule.saved() != 0) {
            const std::uintptr_t saved = to.cfa - rule.saved();
            fits = fits && saved >= callee;
            segment.saves_pointer = true;
            segment.saved_at = place_of(saved);
        }
        fits = fits && (to.cfa - from.cfa) / Return::kWord <= UINT16_MAX;
    } while (segment.frames < kMostFrames && segment.checks < kMostChecks &&
             (segment.frames < kLeastFrames || !ends_before(to)) && (walk.left != 0 || rules.tells(to.pc)));
    segment.end = to.cfa;
    if (!fits) return found;
    // Whoever jumps out of a signal handler in between leaves none behind that is half another.
    Segment &place = segment_at(from);
    place.cfa = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    place = segment;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    place.cfa = from.cfa;
    return found;
}

bool StackSegments::key_of(const Return &from, std::uintptr_t end, unsigned depth, StackTable::Key &key) {
    Walk walk{from, depth, {}};
    bool first = true;
    do {
        const Segment &segment = segment_at(walk.to);
        const unsigned counted = unsigned{segment.frames} - segment.ours;
        if (!segment.is_at(walk.to) || (segment.ours != 0 && !first)) {
            const Step found = record(walk, end, first);
            if (found == Step::outermost) break;
            if (found != Step::done) return false;
        } else if (counted > walk.left) {
            for (const std::uintptr_t *pc = segment.pc + segment.ours; walk.left != 0; --walk.left) walk.key.add(*pc++);
        } else {
            walk.key.add(segment.key);
            walk.left -= counted;
            if (segment.outermost) break;
            if (segment.saves_pointer)
                walk.to.pointer = Return::word_at(walk.to.cfa + segment.saved_at * Return::kWord);
            walk.to.cfa = segment.end;
            walk.to.pc = Return::word_at(segment.end - Return::kWord);
            if (walk.to.pc == 0) break;
        }
        first = false;
    } while (walk.left != 0);
    key = walk.key;
    key.finish(depth - walk.left);
    return true;
}

StackId StackSegments::find_by_key(const StackTable &table, const Return &from, std::uintptr_t end, unsigned depth) {
    StackTable::Key key;
    if (!key_of(from, end, depth, key)) return 0;
    const StackId id = table.find(key);
    if (id == 0)
        return table.keeps_short() && key_of(from, end, std::min(depth, StackTable::kShortFrames), key)
                   ? table.find(key)
                   : 0;
    // What was not kept has left another's there, which may begin as this one does.
    Segment &segment = segment_at(from);
    if (segment.outermost && segment.frames <= depth && segment.is_at(from)) segment.id = id;
    return id;
}

}  // namespace hakmem
