#include "diag/backtrace.h"

#include <dlfcn.h>
#include <link.h>
#define UNW_LOCAL_ONLY
#include <libunwind.h>
#include <sched.h>
#include <sys/auxv.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bits.h"
#include "diag/file_pages.h"
#include "diag/message.h"
#include "diag/unwinder_files.h"
#include "os/pages.h"

extern "C" {
// The linker's names for where this library (or program) begins and ends.
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));
}

namespace hakmem::backtrace {
namespace {

// libunwind's functions, by the names that its header gives them.
#define HAKMEM_TEXT_OF(name) #name
#define HAKMEM_NAME_OF(name) HAKMEM_TEXT_OF(name)
struct Unwinder {
    decltype(&unw_backtrace) backtrace;
    decltype(&unw_init_local) init_local;
    decltype(&unw_step) step;
    decltype(&unw_get_reg) get_reg;
#if defined(__x86_64__)
    decltype(&unw_tdep_getcontext) get_context;  // elsewhere it is inline
    decltype(&unw_get_save_loc) get_save_loc;
#endif
};

// Frames of ours between the program's call of free and here, at most.
constexpr unsigned kOwnFrames = 16;

constexpr char kLibrary[] = "libunwind.so.8";

enum class Loaded : int { not_yet, now, yes, no };

constinit std::atomic<Loaded> loaded{Loaded::not_yet};
constinit Unwinder unwinder{};  // written once, before `loaded` says yes

// The gate between unwinding and fork: how many threads are inside and, times kForking, how many are in fork. In one
// word, so that nobody is inside for a moment only to find that a fork has begun: the child would take that one for
// somebody who holds its locks for ever. tests/protocols/gate.pml is a model of this.
constinit std::atomic<std::uint32_t> gate{0};
constexpr std::uint32_t kForking = 1u << 16;
constinit std::atomic<bool> unusable{false};
constinit thread_local bool this_thread_inside = false;

// Waits until `done`, for as long as a thread of ours can reasonably take, then gives up: better a missing backtrace
// than a program that hangs.
template <class Done>
bool wait_until(Done done) {
    constexpr unsigned kYields = 100;
    constexpr unsigned kNaps = 1000;
    for (unsigned i = 0; i < kYields + kNaps; ++i) {
        if (done()) return true;
        if (i < kYields) {
            sched_yield();
        } else {
            const timespec nap{0, 100'000};
            nanosleep(&nap, nullptr);
        }
    }
    return done();
}

template <class Function>
bool find(void *library, const char *name, Function &function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    return function != nullptr;
}

bool find_all(void *library) {
    if (library == nullptr) return false;
    keep_off_files(library);
    return find(library, HAKMEM_NAME_OF(unw_backtrace), unwinder.backtrace) &&
#if defined(__x86_64__)
           find(library, HAKMEM_NAME_OF(unw_tdep_getcontext), unwinder.get_context) &&
           find(library, HAKMEM_NAME_OF(unw_get_save_loc), unwinder.get_save_loc) &&
#endif
           find(library, HAKMEM_NAME_OF(unw_init_local), unwinder.init_local) &&
           find(library, HAKMEM_NAME_OF(unw_step), unwinder.step) &&
           find(library, HAKMEM_NAME_OF(unw_get_reg), unwinder.get_reg);
}

void find_own() {
    const Own here{reinterpret_cast<std::uintptr_t>(__ehdr_start), reinterpret_cast<std::uintptr_t>(_end)};
    const std::uintptr_t program = getauxval(AT_PHDR);
    if (program < here.begin || program >= here.end) own = here;
}

}  // namespace

constinit Own own{};

bool load() {
    Loaded state = Loaded::not_yet;
    if (loaded.compare_exchange_strong(state, Loaded::now)) {
        find_own();
        void *already = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
        void *library = dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
        const bool complete = find_all(library);
        link_map *map = nullptr;
        if (complete && already == nullptr) dlinfo(library, RTLD_DI_LINKMAP, &map);
        if (already != nullptr) dlclose(already);
        file_pages::start(map != nullptr ? map->l_addr : 0);
        loaded = complete ? Loaded::yes : Loaded::no;
    }
    return loaded.load(std::memory_order_acquire) == Loaded::yes;
}

bool underway() { return this_thread_inside; }

bool enter() {
    if (this_thread_inside || unusable.load(std::memory_order_relaxed)) return false;
    this_thread_inside = true;
    std::uint32_t seen = gate.load();
    for (;;) {
        if (seen < kForking) {
            if (gate.compare_exchange_weak(seen, seen + 1)) return true;
            continue;
        }
        if (!wait_until([] { return gate.load() < kForking; })) break;
        seen = gate.load();
    }
    this_thread_inside = false;
    return false;
}

void leave() {
    gate.fetch_sub(1);
    this_thread_inside = false;
}

void start() {
    if (!enter()) return;
    if (!load()) print_line("no backtraces: libunwind.so.8 cannot be loaded");
    leave();
}

namespace {

// A process that unwinds seldom has no use for the tables in between; one that does it all the time would only ask for
// them again. So many times at once, and then once in so many milliseconds.
bool may_let_go() {
    constexpr std::uint64_t kEveryMs = 16, kAtOnce = 256;
    static constinit std::atomic<std::uint64_t> spent_until_ms{0};
    const std::uint64_t now = os::coarse_milliseconds();
    std::uint64_t seen = spent_until_ms.load(std::memory_order_relaxed);
    const std::uint64_t from = now > kAtOnce * kEveryMs ? std::max(seen, now - kAtOnce * kEveryMs) : seen;
    return from <= now && spent_until_ms.compare_exchange_strong(seen, from + kEveryMs, std::memory_order_relaxed);
}

// Return addresses in `buffer`; how many.
inline __attribute__((always_inline)) int walk(void **buffer, int most, Pace pace) {
    if (pace == Pace::fast) return unwinder.backtrace(buffer, most);
    unw_context_t context;
    unw_cursor_t cursor;
#if defined(__x86_64__)
    unwinder.get_context(&context);
#else
    unw_getcontext(&context);
#endif
    if (unwinder.init_local(&cursor, &context) != 0) return 0;
    int found = 0;
    while (found < most && unwinder.step(&cursor) > 0) {
        unw_word_t pc = 0;
        if (unwinder.get_reg(&cursor, UNW_REG_IP, &pc) != 0 || pc == 0) break;
        buffer[found++] = reinterpret_cast<void *>(pc);
    }
    return found;
}

// Leaves out the frames before the first for which `begins` holds.
template <class Begins>
inline __attribute__((always_inline)) void capture_from(Trace &trace, unsigned depth, Pace pace, Begins begins) {
    trace.frames = 0;
    if (!enter()) return;
    if (load()) {
        void *buffer[kMostFrames + kOwnFrames];
        const int found = walk(buffer, static_cast<int>(depth + kOwnFrames), pace);
        int first = 0;
        while (first < found && !begins(reinterpret_cast<std::uintptr_t>(buffer[first]))) ++first;
        for (int i = first; i < found && trace.frames < depth; ++i) {
            trace.pc[trace.frames++] = reinterpret_cast<std::uintptr_t>(buffer[i]);
        }
        if (pace == Pace::step_by_step) let_go(trace);
    }
    leave();
}

}  // namespace

void let_go(const Trace &trace) {
    if (may_let_go()) file_pages::let_go({trace.pc, trace.frames});
}

#if defined(__x86_64__)
namespace {

// A step from a frame that is nowhere: to memory of nothing but zeros, where both registers point to that tell the
// caller's frame.
struct StepFromNowhere {
    bool done = false;
    std::uintptr_t cfa = 0;      // of the frame there
    std::uintptr_t back = 0;     // where the return address would be; 0: there is none
    std::uintptr_t pointer = 0;  // where the caller's frame pointer would be; 0: still in its register

    StepFromNowhere(std::uintptr_t pc, std::uintptr_t stack_pointer, std::uintptr_t frame_pointer) {
        unw_context_t context{};
        auto &registers = context.uc_mcontext.gregs;
        registers[REG_RIP] = static_cast<greg_t>(pc);
        registers[REG_RSP] = static_cast<greg_t>(stack_pointer);
        registers[REG_RBP] = static_cast<greg_t>(frame_pointer);
        unw_cursor_t cursor;
        if (unwinder.init_local(&cursor, &context) != 0) return;
        unwinder.step(&cursor);
        unw_word_t caller = 0;
        unw_save_loc_t address{}, saved{};
        if (unwinder.get_reg(&cursor, UNW_X86_64_RSP, &caller) != 0 ||
            unwinder.get_save_loc(&cursor, UNW_X86_64_RIP, &address) != 0 ||
            unwinder.get_save_loc(&cursor, UNW_X86_64_RBP, &saved) != 0)
            return;
        cfa = caller;
        if (address.type == UNW_SLT_MEMORY) back = address.u.addr;
        // In no other register, and known.
        if (back != 0 && saved.type != UNW_SLT_MEMORY) return;
        if (back != 0 && saved.u.addr != address_of(&registers[REG_RBP])) pointer = saved.u.addr;
        done = true;
    }
};

}  // namespace

// The unwinder would say the same wherever the stack is, as it goes by the object's tables. Where there are none, it
// believes in a frame pointer that is no further up than here. A signal's frame tells by what is in it, which are
// zeros.
UnwindRule rule_of(std::uintptr_t pc) {
    using Kind = UnwindRule::Kind;
    constexpr std::uintptr_t kWord = sizeof(std::uintptr_t), kBelow = os::kPageBytes, kFurther = 64;
    constexpr std::uintptr_t kFar = kMostGuessed - kWord, kRoom = 2 * kBelow + kFar + UnwindRule::kMostBytes;
    // Never written to, and so no memory.
    static constinit std::atomic<void *> zeros{nullptr};
    const UnwindRule other = UnwindRule::of(pc, Kind::other, 0, 0);
    void *nowhere = zeros.load(std::memory_order_acquire);
    if (nowhere == nullptr) {
        void *mine = os::map(kRoom);
        if (mine == nullptr) return other;
        if (zeros.compare_exchange_strong(nowhere, mine))
            nowhere = mine;
        else
            os::unmap(mine, kRoom);
    }
    const std::uintptr_t stack = address_of(nowhere) + kBelow, pointer = stack + kFar;
    const StepFromNowhere step(pc, stack, pointer);
    if (!step.done) return other;
    if (step.back == 0) return UnwindRule::of(pc, Kind::end, 0, 0);
    // The step alone does not say where the stack pointer is then, but a whole walk goes on like this.
    if (step.back == pointer + kWord && step.pointer == pointer && step.cfa != pointer + 2 * kWord)
        return UnwindRule::of(pc, Kind::guess, 2 * kWord, 2 * kWord);
    if (step.back != step.cfa - kWord || step.pointer >= step.cfa) return other;
    // Which of the two it goes by shows when one of them is moved.
    const StepFromNowhere moved(pc, stack, pointer - kFurther);
    const bool by_stack = moved.cfa == step.cfa;
    const std::uintptr_t from = by_stack ? stack : pointer, further = by_stack ? 0 : kFurther;
    if (step.cfa <= from || moved.cfa != step.cfa - further) return other;
    if (step.pointer != 0 && moved.pointer != step.pointer - further) return other;
    // Where the frame pointer is somewhere else, that is too many bytes for a rule.
    return UnwindRule::of(pc, by_stack ? Kind::stack_pointer : Kind::frame_pointer, step.cfa - from,
                          step.pointer != 0 ? step.cfa - step.pointer : 0);
}
#else
UnwindRule rule_of(std::uintptr_t pc) { return UnwindRule::of(pc, UnwindRule::Kind::other, 0, 0); }
#endif

__attribute__((noinline)) void capture(Trace &trace, unsigned depth, Pace pace) {
    capture_from(trace, depth, pace, [](std::uintptr_t pc) { return !own.holds(pc); });
}

__attribute__((noinline)) void capture_interrupted(Trace &trace, unsigned depth, std::uintptr_t pc,
                                                   std::uintptr_t behind) {
    capture_from(trace, depth, Pace::step_by_step, [pc](std::uintptr_t frame) { return frame == pc; });
    if (trace.frames == 0) trace.frames = 1;  // the unwinder did not get through the signal frame
    trace.pc[0] = behind;
}

void before_fork() {
    gate.fetch_add(kForking);
    const std::uint32_t mine = this_thread_inside ? 1 : 0;
    wait_until([mine] { return gate.load() % kForking <= mine; });
}

void after_fork_in_parent() { gate.fetch_sub(kForking); }

void after_fork_in_child() {
    const std::uint32_t mine = this_thread_inside ? 1 : 0;
    // Somebody was inside for very long: what they hold is held for ever here.
    if (gate.load() % kForking > mine) unusable = true;
    gate = mine;
}

}  // namespace hakmem::backtrace
