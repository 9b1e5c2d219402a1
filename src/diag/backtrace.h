// Backtraces by libunwind, which caches and so needs under a microsecond where it has been before.
//
// libunwind is loaded privately (dlopen, RTLD_LOCAL) and not linked: it exports the C++ runtime's _Unwind_ functions,
// and as a dependency of a preloaded library it would take the place of libgcc's in the host program.
//
// It takes the loader's lock and locks of its own. So: never call `capture` with a lock of ours held; a thread that is
// in it already (a signal handler) gets no second one; and fork waits until no other thread is in it, so that the child
// doesn't inherit a lock that nobody will release.
#pragma once

#include <cstdint>

#include "diag/unwind_rules.h"

namespace hakmem::backtrace {

inline constexpr unsigned kMostFrames = 64;

struct Trace {
    unsigned frames = 0;
    std::uintptr_t pc[kMostFrames];
};

// Loads libunwind.
void start();

// How to walk. libunwind's fast way keeps 256 KiB for each thread that has used it; step by step takes some tenths of a
// microsecond a frame and no memory: for stacks that are seldom taken.
enum class Pace { fast, step_by_step };

// The callers' return addresses, innermost first, at most `depth`, without the frames of the library that this code is
// in. No frames where it can't be done.
void capture(Trace &trace, unsigned depth, Pace pace = Pace::fast);

// The same in a signal handler: what the code that was interrupted at `pc` was called by, and in front `behind`, an
// address that stands for the instruction before it, as a return address does. Step by step: what libunwind's fast way
// keeps for a thread is the program's heap's in part, and would come to lie right behind the block that is being
// written past.
void capture_interrupted(Trace &trace, unsigned depth, std::uintptr_t pc, std::uintptr_t behind);

// Where this library lies; empty where this code is linked into a program, as in tests: there its frames can't be told
// from the program's.
struct Own {
    std::uintptr_t begin, end;
    bool holds(std::uintptr_t pc) const { return begin <= pc && pc < end; }
};
extern constinit Own own;

// For callers inside the gate. False: there is no unwinder.
bool load();
// What the unwinder's tables say of a return address. Without tables it takes a frame pointer for true that is no more
// than so many bytes above.
inline constexpr std::uintptr_t kMostGuessed = 0x4000;
UnwindRule rule_of(std::uintptr_t pc);
// The pages of these tables that only this stack needed, where stacks are seldom taken.
void let_go(const Trace &trace);

// Keeps fork apart from every use of the loader's and libunwind's locks. False: not now.
bool enter();
// This thread is inside the gate.
bool underway();
void leave();

void before_fork();
void after_fork_in_parent();
void after_fork_in_child();

}  // namespace hakmem::backtrace
