#include "diag/stack_walk.h"

namespace hakmem {
namespace {

using Step = Return::Step;

// How far it came: `to.pc` is the address that no rule is known for, where there is one.
Step run(backtrace::Trace &trace, Return &to, std::uintptr_t end, unsigned depth) {
    const UnwindRules::View rules = unwind_rules.view();
    trace.frames = 0;
    if (!rules) return Step::unknown;
    Step found = Step::done;
    while (found == Step::done) {
        if (!backtrace::own.holds(to.pc) || trace.frames != 0) {
            trace.pc[trace.frames++] = to.pc;
            if (trace.frames == depth) break;
        }
        found = to.step(rules, end);
    }
    return found;
}

}  // namespace

Step walk_stack(backtrace::Trace &trace, std::uintptr_t frame, std::uintptr_t end, unsigned depth) {
    Return to = Return::from(frame);
    return run(trace, to, end, depth);
}

bool learn_stack(backtrace::Trace &trace, std::uintptr_t frame, std::uintptr_t end, unsigned depth,
                 backtrace::Pace pace, ModuleMap &modules) {
    if (!backtrace::enter()) return false;
    Step found = Step::lost;
    if (backtrace::load()) {
        modules.refresh();
        unwind_rules.follow(modules.loads(), modules.unloads());
        std::uintptr_t asked = 0;
        // Others may forget meanwhile what was told.
        constexpr unsigned kMostAsked = 8 * backtrace::kMostFrames;
        for (unsigned i = 0; i < kMostAsked; ++i) {
            Return to = Return::from(frame);
            found = run(trace, to, end, depth);
            // The last one's too, where there are more: the next walk goes on there (last_stack.h).
            const bool asks =
                found == Step::unknown || (found == Step::done && !unwind_rules.view().find(to.pc).is_of(to.pc));
            if (!asks || to.pc == asked) break;
            asked = to.pc;
            unwind_rules.add(backtrace::rule_of(asked));
        }
        if (asked != 0 && found != Step::lost && pace == backtrace::Pace::step_by_step) backtrace::let_go(trace);
    }
    backtrace::leave();
    return found == Step::done || found == Step::outermost;
}

}  // namespace hakmem
