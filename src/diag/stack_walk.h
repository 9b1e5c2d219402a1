// A backtrace by the unwind rules of its addresses (unwind_rules.h): what `guard` needs, which takes two a block, and
// what samples are taken by. The same return addresses as the unwinder gives, for the price of some loads a frame; only
// for an address that was never met before is the unwinder asked, with its locks.
//
// Only on x86-64, where the frame of ours that a walk starts at begins with the caller's frame pointer and the return
// address; elsewhere the unwinder takes them all.
#pragma once

#include <cstdint>

#include "diag/backtrace.h"
#include "diag/modules.h"
#include "diag/unwind_rules.h"

namespace hakmem {

#if defined(__x86_64__)
inline constexpr bool kWalksStacks = true;
#else
inline constexpr bool kWalksStacks = false;
#endif

// Between two frames of a walk: what a return leads to, and with which registers.
struct Return {
    enum class Step { done, unknown, lost, outermost };

    std::uintptr_t cfa;      // where the stack pointer will stand
    std::uintptr_t pointer;  // the frame pointer's value
    std::uintptr_t pc;

    // From `frame`, the address that the frame pointer of a function of ours holds.
    [[gnu::always_inline]] static Return from(std::uintptr_t frame) {
        return {frame + 2 * kWord, word_at(frame), word_at(frame + kWord)};
    }

    // To the next one. `end` is the stack's.
    [[gnu::always_inline]] Step step(const UnwindRules::View &rules, std::uintptr_t end) {
        UnwindRule rule;
        return step(rules, end, rule);
    }
    [[gnu::always_inline]] Step step(const UnwindRules::View &rules, std::uintptr_t end, UnwindRule &rule) {
        rule = rules.at_its_place(pc);
        if (!rule.leads_on_from(pc)) [[unlikely]] {
            rule = rules.find(pc);
            if (!rule.is_of(pc)) return Step::unknown;
            if (rule.kind() == UnwindRule::Kind::end) return Step::outermost;
            if (rule.kind() == UnwindRule::Kind::other) return Step::lost;
        }
        const std::uintptr_t caller = (rule.by_pointer() ? pointer : cfa) + rule.bytes();
        if (rule.guessed() && pointer - cfa > backtrace::kMostGuessed) [[unlikely]]
            return Step::outermost;
        // What a function has saved lies in its frame, and stacks grow downwards.
        if (caller - cfa - 1 >= end - cfa) [[unlikely]]
            return Step::lost;
        if (rule.saved() != 0) pointer = word_at(caller - rule.saved());
        pc = word_at(caller - kWord);
        cfa = caller;
        return pc != 0 ? Step::done : Step::outermost;
    }

    static constexpr std::uintptr_t kWord = sizeof(std::uintptr_t);
    static std::uintptr_t word_at(std::uintptr_t address) { return *reinterpret_cast<const std::uintptr_t *>(address); }
};

// One backtrace: at most `depth` return addresses of others than ours, up to `end` of the stack. Whole where it is done
// or at the outermost; unknown where it takes more than was told, lost where only the unwinder may know how. No lock.
Return::Step walk_stack(backtrace::Trace &trace, std::uintptr_t frame, std::uintptr_t end, unsigned depth);

// The same, and what isn't known is asked for. False where it is lost. Takes the loader's lock.
bool learn_stack(backtrace::Trace &trace, std::uintptr_t frame, std::uintptr_t end, unsigned depth,
                 backtrace::Pace pace, ModuleMap &modules);

}  // namespace hakmem
