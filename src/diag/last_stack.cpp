#include "diag/last_stack.h"

#include <atomic>
#include <cstring>

namespace hakmem {

unsigned LastStack::first_gone(unsigned inside, unsigned last) const {
    // Nearly always all are there: looked at four at a time.
    constexpr unsigned kAtOnce = 4;
    const auto differs = [&](unsigned i) { return Return::word_at(place_[i]) ^ pc_[i]; };
    unsigned i = inside;
    for (; i >= last + kAtOnce; i -= kAtOnce)
        if ((differs(i - 1) | differs(i - 2) | differs(i - 3) | differs(i - 4)) != 0) break;
    while (i != last && differs(i - 1) == 0) --i;
    // [i, inside) are there. So is what the frame pointer was, or it is the first one gone.
    if (checked_[inside + 1] != checked_[i + 1]) {
        for (unsigned k = inside; k > i; --k)
            if (is_checked(k) && Return::word_at(saved_[k]) != pointer_[k - 1]) return k - 1;
    }
    return i != last ? i - 1 : kNone;
}

LastStack::Step LastStack::walk(std::uintptr_t frame, std::uintptr_t end, unsigned depth) {
    const UnwindRules::View rules = unwind_rules.view();
    if (!rules) return Step::unknown;
    Return to = Return::from(frame);
    unsigned stay = size_, fresh = 0, ours = 0, others = 0;
    bool whole = whole_;
    bool inside = true;  // of us
    for (;;) {
        const std::uintptr_t place = to.cfa - Return::kWord;
        while (stay != 0 && place_[stay - 1] < place) --stay;
        inside = inside && backtrace::own.holds(to.pc);
        if (!inside && stay != 0 && is_at(stay - 1, to)) {
            if (others >= depth) break;
            const unsigned wanted = depth - others;
            const bool reaches = whole_ || stay >= wanted;
            const unsigned gone = first_gone(stay - 1, stay - std::min(stay, wanted));
            if (gone == kNone && reaches) break;
            // What is still there comes along, and the walk goes on from the last one of it.
            const unsigned last = gone == kNone ? 0 : gone + 1;
            for (;; --stay) {
                const unsigned i = stay - 1;
                if (fresh == kMostFrames) break;
                fresh_[fresh++] = {place_[i], pc_[i], to.pointer, saved_[i], (flags_[i] & kByPointer) != 0};
                ++others;
                if (i == last) break;
                if (saved_[i] != 0) to.pointer = Return::word_at(saved_[i]);
            }
            to.cfa = place_[last] + Return::kWord;
            to.pc = pc_[last];
            stay = last;
        } else {
            fresh_[fresh++] = {place, to.pc, to.pointer, 0, false};
            ++(inside ? ours : others);
        }
        if (fresh == kMostFrames) {
            stay = 0;
            whole = false;
            break;
        }
        UnwindRule rule;
        const Step found = to.step(rules, end, rule);
        if (found == Step::unknown || found == Step::lost) {
            if (others < depth) return found;
            stay = 0;
            whole = false;
            break;
        }
        Fresh &last = fresh_[fresh - 1];
        last.by_pointer = rule.by_pointer();
        if (found == Step::outermost) {
            stay = 0;
            whole = true;
            break;
        }
        last.saved = rule.saved() != 0 ? to.cfa - rule.saved() : 0;
    }
    // Whoever jumps out of a signal handler in between leaves none behind.
    size_ = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    ours_ = ours;
    whole_ = whole;
    const unsigned size = put(stay, fresh);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    size_ = size;
    return Step::done;
}

// Takes the fresh ones in place of all but the first `stay`; returns how many there are.
unsigned LastStack::put(unsigned stay, unsigned fresh) {
    if (stay + fresh > kMostFrames) {
        // The outermost go: some at once, and then none for a while.
        const unsigned kept = fresh < kMostFrames / 2 ? std::min(stay, kMostFrames / 2) : 0, gone = stay - kept;
        for (std::uintptr_t *all : {place_, pc_, pointer_, saved_}) std::memmove(all, all + gone, kept * sizeof *all);
        std::memmove(flags_, flags_ + gone, kept);
        for (unsigned i = 0; i < kept; ++i) {
            sum_[i + 1] = StackTable::Key::further(sum_[i], pc_[i]);
            const bool checked = i != 0 && saved_[i] != 0 && (flags_[i - 1] & kPointerCounts) != 0;
            checked_[i + 1] = static_cast<std::uint16_t>(checked_[i] + checked);
        }
        stay = kept;
        whole_ = false;
    }
    unsigned size = stay;
    bool counts = size != 0 && (flags_[size - 1] & kPointerCounts) != 0;
    std::uint64_t sum = sum_[size];
    while (fresh-- != 0) {
        const Fresh &from = fresh_[fresh];
        place_[size] = from.place;
        pc_[size] = from.pc;
        pointer_[size] = from.pointer;
        saved_[size] = from.saved;
        checked_[size + 1] = static_cast<std::uint16_t>(checked_[size] + (from.saved != 0 && counts));
        counts = from.by_pointer || (from.saved == 0 && counts);
        flags_[size] = static_cast<std::uint8_t>((from.by_pointer ? kByPointer : 0) | (counts ? kPointerCounts : 0));
        sum_[++size] = sum = StackTable::Key::further(sum, from.pc);
    }
    return size;
}

}  // namespace hakmem
