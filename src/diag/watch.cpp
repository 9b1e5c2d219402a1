#include "diag/watch.h"

#include <algorithm>
#include <utility>

#include "core/block_header.h"
#include "core/guarded_pages.h"
#include "core/header_byte.h"
#include "core/notes.h"
#include "core/size_classes.h"
#include "diag/audit.h"
#include "diag/backtrace.h"
#include "diag/fill.h"
#include "diag/hunt.h"
#include "diag/incident.h"
#include "diag/process.h"
#include "diag/stack_walk.h"
#include "diag/state.h"
#include "diag/trap_handler.h"
#include "diag/undisturbed.h"
#include "diag/usual.h"
#include "os/pages.h"
#include "os/readable.h"
#include "os/ticks.h"

namespace hakmem {
namespace {

using segment::CounterShard;
using segment::Level;

// Freed samples that `trace` holds back, so that a second free of one still knows the first. Each keeps a span, which
// at the usual rate is what counts; whoever asks for more samples is after something.
constexpr std::uint64_t kTraceQuarantineBytes = 16 << 10, kDenseQuarantineBytes = 256 << 10;
constexpr std::uint64_t kDenseSampleBytes = 64 << 10;

// A change of the control word is in force within a few times this.
constexpr std::uint64_t kLookUpMs = 20;
constexpr std::uint32_t kMostUnseen = 4096;

constexpr std::uint32_t kNever = 1u << 30;

// In what time so many stacks of a thread that had to be unwound are worth the unwinder's own cache.
constexpr std::uint32_t kManyUnwound = 1000;
constexpr std::uint64_t kManyUnwoundMs = 10'000;
// Ticks that the hunt may take of a thread's time as soon as there is something new to hunt: the next overflow may be
// the last for a long time.
constexpr std::int64_t kHuntInHand = 10'000'000;

// One part in so many of a thread's time for all that a hunt does, and one in twice as many for moving watchpoints.
constexpr std::int64_t kHuntShare = 80;

// What the way to the hunt's own code and back costs besides, in ticks: of an allocation that is looked at, and of the
// free of a hunted block.
constexpr std::uint64_t kVisitTicks = 150;

// One in so many blocks of other sites than the guilty one is hunted too.
constexpr std::uint64_t kCurious = 16;

std::uint64_t asked_bytes(const Watched &watched, const Note &note) {
    return watched.end() - note.slack() - note.spare() - watched.user;
}

std::uint64_t quarantine_limit(Level level) {
    switch (level) {
        case Level::guard:
            return state.options.quarantine_bytes;
        case Level::trace:
            return std::min(state.sample_bytes.load(std::memory_order_relaxed) <= kDenseSampleBytes
                                ? kDenseQuarantineBytes
                                : kTraceQuarantineBytes,
                            state.options.quarantine_bytes);
        default:
            return 0;
    }
}

// The memory of a block that is somebody else's (an audit looks at those) may go at any moment: between guard pages,
// and where it is a mapping of its own, which lies in no region.
bool stays_readable(const Watched &watched) {
    return !watched.large || (!watched.guard_pages && page_map.find(watched.block).is_region());
}

// What can't be read is not changed.
[[gnu::noinline]] std::uintptr_t first_changed_of_copy(std::uintptr_t begin, std::uintptr_t end, std::uint8_t byte) {
    std::uint8_t copy[512];
    for (std::size_t bytes; begin < end; begin += bytes) {
        bytes = std::min(sizeof copy, end - begin);
        if (!os::safe_read(begin, copy, bytes)) return end;
        const auto from = reinterpret_cast<std::uintptr_t>(copy);
        const std::uintptr_t changed = fill::first_changed(from, from + bytes, byte);
        if (changed != from + bytes) return begin + (changed - from);
    }
    return end;
}

// The first byte of [begin, end) that isn't `byte` any more, `end` if all are.
inline std::uintptr_t first_changed(const Watched &watched, std::uintptr_t begin, std::uintptr_t end, std::uint8_t byte,
                                    bool owned) {
    return owned || stays_readable(watched) ? fill::first_changed(begin, end, byte)
                                            : first_changed_of_copy(begin, end, byte);
}

// Of slack, 0 if none is changed.
std::uintptr_t changed_fill(const Watched &watched, std::uintptr_t begin, std::uintptr_t end, bool owned) {
    const std::uintptr_t changed = first_changed(watched, begin, end, fill::kSlack, owned);
    return changed != end ? changed : 0;
}

// The same of freed memory.
std::uintptr_t changed_freed(const Watched &watched, std::uintptr_t begin, std::uintptr_t end, bool owned) {
    const std::uintptr_t changed = fill::first_changed_freed(begin, end, [&](std::uintptr_t from, std::uintptr_t to) {
        return first_changed(watched, from, to, fill::kFreed, owned);
    });
    return changed != end ? changed : 0;
}

// A block that was moved up inside its slot for alignment has its 16-byte header in front; one that says freed is on
// its way out, and its note has yet to say so.
bool aligned_header_holds(const Watched &watched, const Note &note) {
    if (watched.large || note.user_offset() == 0) return true;
    void *user = pointer_to(watched.block + note.user_offset());
    const BlockHeader header = BlockHeader::load(user);
    return (header.marker == BlockHeader::kAligned || header.marker == BlockHeader::kFreedAligned) &&
           header.valid_for(user);
}

std::uintptr_t changed_in_front(const Watched &watched, bool owned) {
    return watched.front != 0 ? changed_fill(watched, watched.user - watched.front, watched.user - 1, owned) : 0;
}

Finding finding_of(Kind kind, const Watched &watched) {
    Finding finding;
    finding.kind = kind;
    BlockFacts &facts = finding.facts;
    facts.address = watched.user;
    facts.owner = watched.large ? Owner::large : Owner::small;
    facts.at_start = true;
    facts.state = SlotState::in_use;
    facts.block = watched.user;
    facts.slot_bytes = block_bytes(watched);
    facts.mapped = true;
    return finding;
}

}  // namespace

ReleaseKept Watcher::release_kept = nullptr;
constinit thread_local bool Watcher::fills_slack_ = false;

// The signal handler knows this for no overflow.
void Watcher::put_slack_under_watch(std::uintptr_t begin, std::uintptr_t end) {
    // What is filled already may have a watchpoint on it.
    if (fill::first_changed(begin, end, fill::kSlack) == end) return;
    fills_slack_ = true;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    fill::put<fill::kSlack>(begin, end);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    fills_slack_ = false;
}

// The stack of whoever called the library.
[[gnu::noinline]] StackId Watcher::stack_here(CounterShard &shard) {
    const StackId id = stack_at(shard, reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)));
    asm volatile("");  // no jump, which would give the frame away that the walk starts at
    return id;
}

// Of what can't be walked by rules.
backtrace::Pace Watcher::pace_of_unwinding() {
    if (!unwinds_fast_ && ++unwound_ == kManyUnwound) {
        const std::uint64_t now = os::coarse_milliseconds();
        unwinds_fast_ = now - unwound_since_ms_ < kManyUnwoundMs;
        unwound_since_ms_ = now;
        unwound_ = 0;
    }
    return watches_all_ || hunt.on() || unwinds_fast_ ? backtrace::Pace::fast : backtrace::Pace::step_by_step;
}

// Not one of the short ones that the thread has had lately.
[[gnu::noinline]] StackId Watcher::stack_from_afar(CounterShard &shard, std::uintptr_t frame) {
    if constexpr (!kWalksStacks) return capture(shard, frame, false);
    StackId id = 0;
    const auto found = stack_memory_.walk(state.stacks, frame, own_stack_, state.options.stack_depth, id);
    const bool is_new = found == StackMemory::Found::unknown;
    if (found == StackMemory::Found::known || (is_new && state.stacks.is_full())) {
        ++shard.backtraces[static_cast<unsigned>(segment::BacktraceCause::sample)];
        return id;
    }
    return capture(shard, frame, is_new);
}

StackId Watcher::capture(CounterShard &shard, std::uintptr_t frame, bool is_new) {
    // The unwinder itself allocates, a thread's first time: stacks are small, and that one is nobody's sample.
    if (backtrace::underway()) return 0;
    const Undisturbed undisturbed;
    const std::uint32_t depth = state.options.stack_depth;
    backtrace::Trace trace;
    StackId id = 0;
    bool walked = false;
    if (kWalksStacks && own_stack_.reaches(frame)) {
        const std::uintptr_t end = own_stack_.end();
        const Return::Step found = is_new ? Return::Step::unknown : walk_stack(trace, frame, end, depth);
        if (found == Return::Step::done || found == Return::Step::outermost)
            id = state.stacks.find(trace.pc, trace.frames);
        // What was told may be out of date where it leads to a new stack.
        walked = id != 0;
        if (!walked && found != Return::Step::lost) {
            const auto pace = watches_all_ ? backtrace::Pace::fast : backtrace::Pace::step_by_step;
            walked = learn_stack(trace, frame, end, depth, pace, state.modules);
            stack_memory_.follow(state.modules.loads() + state.modules.unloads());
        }
    }
    if (!walked) backtrace::capture(trace, depth, pace_of_unwinding());
    if (trace.frames == 0) return 0;
    ++shard.backtraces[static_cast<unsigned>(segment::BacktraceCause::sample)];
    if (id != 0) return id;
    return state.stacks.intern(trace.pc, trace.frames, state.modules);
}

// ---- following the level ----

void Watcher::arm(std::size_t size_class, bool guard) {
    const std::uint64_t next = remaining_[size_class];
    armed_[size_class] = guard ? 1 : static_cast<std::uint32_t>(std::min<std::uint64_t>(next, look_up_after_));
    if (hunt.wants(size_class)) armed_[size_class] = std::min(armed_[size_class], pace_.next(random_));
    countdown_[size_class] = armed_[size_class];
}

// The thread has come by because a countdown was over.
void Watcher::look_up() {
    const std::uint64_t now = os::coarse_milliseconds();
    const std::uint64_t elapsed = now - looked_up_ms_;
    looked_up_ms_ = now;
    if (elapsed < kLookUpMs / 2)
        look_up_after_ = std::min(2 * look_up_after_, kMostUnseen);
    else if (elapsed > kLookUpMs)
        look_up_after_ = std::max<std::uint32_t>(1, look_up_after_ / 8);
}

void Watcher::follow() {
    const std::uint32_t changes = state.changes.load(std::memory_order_acquire);
    if (changes == changes_seen_) return;
    if (changes_seen_ == 0) {
        random_.seed(os::process_secret() ^ (static_cast<std::uint64_t>(process::thread_id()) << 32) ^
                     reinterpret_cast<std::uintptr_t>(this));
        draws_.seed(random_.next());
    }
    changes_seen_ = changes;
    if (hunt_session_ != hunt.session()) {
        hunt_session_ = hunt.session();
        applicant_.seat = 0;
    }
    if (hunt_round_ != hunt.round()) {
        hunt_round_ = hunt.round();
        pace_.start(os::ticks(), kHuntShare, kHuntInHand);
        moves_.start(os::ticks(), 2 * kHuntShare, kHuntInHand);
        if (hunt.on() && hunt.aims()) {
            let_traps_through();
            if (applicant_.seat == 0) applicant_.seat = hunt.take_seat();
        }
    }
    const Level level = state.level.load();
    const std::uint64_t mean = state.sample_bytes.load();
    // The process has no memory: to start again is as good as to go on.
    for (std::size_t c = 0; c < segment::kSizeClasses; ++c) {
        remaining_[c] =
            level >= Level::trace ? sampling::allocations_to_next(random_, size_classes::kSlotBytes[c], mean) : kNever;
        arm(c, level >= Level::guard);
    }
    large_remaining_ = sampling::bytes_to_next(random_, mean);
    watches_all_ = level >= Level::guard;
    usual_ = watches_all_ && state.segment;
    looks_at_time_ = audit::is_periodic();
    one_in_ = state.options.guard_sample;
    hunt_has_aimed_ = hunt.has_aimed();
    hunted_classes_ = hunt.classes();
    largest_kept_ =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(quarantine_limit(level) / kLargestShare, UINT32_MAX));
    if (kWalksStacks && (watches_all_ || hunt.on()))
        stack_memory_.start();
    else
        stack_memory_.forget();
}

// ---- allocation ----

// What pending_ says, and whether this one gets guard pages.
WatchPlan Watcher::planned(CounterShard &shard, std::size_t bytes, std::uint32_t number) {
    pending_stack_ = 0;
    pending_hunt_ = pending_place_ = false;
    WatchPlan plan{.watch = pending_fill_ || pending_weight_ != 0, .slack = pending_fill_ ? kUsualSlack : 0};
    if (!pending_fill_) return plan;
    // Where it was begun (plan_usual), it goes on from there.
    const bool begun = number != kNoNumber;
    pending_stack_ = begun ? number & ~kUnusual : stack_here(shard);
    if (one_in_ == 0) return plan;
    const std::uint64_t draw = begun ? draws_.last() : draws_.next();
    if (is_sampled(draw, one_in_)) {
        plan.guard_pages = true;
        // Reads and writes past the end are the commoner bug.
        plan.guard_at_end = random_.next() % 4 != 0;
    } else {
        const std::uint16_t site = state.stacks.near_site(pending_stack_);
        const SiteTurns::Turn turn = state.site_turns.take(site, bytes, guarded_pages.in_use(), of_site(draw));
        plan.guard_pages = turn != SiteTurns::Turn::none;
        plan.guard_at_end = turn == SiteTurns::Turn::back;
    }
    return plan;
}

// It is a site's turn. A program of many sites is refused most of the time, and would be again until the clock goes on.
[[gnu::noinline]] bool Watcher::may_guard(std::uint16_t site) {
    if (state.site_turns.has_room(site, guarded_pages.in_use())) return true;
    const std::uint64_t now = os::coarse_milliseconds();
    return std::exchange(refused_ms_, now) != now;
}

WatchPlan Watcher::plan(CounterShard &shard, std::size_t bytes, std::size_t size_class, std::uint32_t number) {
    const Level level = state.level.load(std::memory_order_relaxed);
    pending_weight_ = 0;
    remaining_[size_class] -= std::min<std::uint64_t>(armed_[size_class], remaining_[size_class]);
    if (remaining_[size_class] == 0) {
        if (level >= Level::trace) {
            const std::uint32_t bytes = size_classes::kSlotBytes[size_class];
            const std::uint64_t mean = state.sample_bytes.load(std::memory_order_relaxed);
            pending_weight_ = sampling::weight(bytes, mean);
            remaining_[size_class] = sampling::allocations_to_next(random_, bytes, mean);
        } else {
            remaining_[size_class] = kNever;
        }
    }
    pending_fill_ = level >= Level::guard;
    const bool hunted = hunt.wants(size_class);
    if (!pending_fill_ && !hunted) look_up();
    WatchPlan plan = planned(shard, bytes, number);
    if (hunted) plan_hunt(shard, bytes, size_class, plan);
    arm(size_class, pending_fill_);
    return plan;
}

// An allocation of a class that is hunted: whether it gets what an overflow can be caught by.
void Watcher::plan_hunt(CounterShard &shard, std::size_t bytes, std::size_t size_class, WatchPlan &plan) {
    const std::uint64_t now = os::ticks();
    const bool may = pace_.may(now);
    pace_.spent(kVisitTicks);
    if (!may || plan.guard_pages || hunt_session_ != hunt.session()) return;
    pending_since_ = now;
    if (pending_stack_ == 0) pending_stack_ = stack_here(shard);
    const Hunt::Role role = hunt.role(pending_stack_);
    // Now and then one that is under no suspicion: there may be a second bug.
    const bool guilty = role == Hunt::Role::guilty;
    const bool curious = role == Hunt::Role::unknown || random_.next() % kCurious == 0;
    if (pending_fill_) {
        pending_place_ = guilty && hunt.aims() && bytes + plan.slack <= size_classes::kMaxSmall;
    } else if (guilty || curious) {
        // The header behind the block, and what a long overflow needs, become slack.
        const std::uint32_t to_header = static_cast<std::uint32_t>(size_classes::usable_bytes(size_class) - bytes);
        const bool pages = guilty && (!hunt.by_watchpoints() || size_class == segment::kSizeClasses - 1);
        const bool fits = bytes + to_header + kUsualSlack <= size_classes::kMaxSmall;
        if ((pages || fits) && hunt.has_room()) {
            plan.watch = pending_hunt_ = true;
            plan.guard_pages = plan.guard_at_end = pages;
            if (fits) plan.slack = to_header + kUsualSlack;
            pending_place_ = !pages && hunt.aims();
        }
    }
    if (pending_place_) {
        pending_class_ = size_classes::of_request(bytes + plan.slack);
        applicant_.shared_first = hunt.shared_first() || random_.next() >> 63 != 0;
        plan.kept = hunt.take_idle(pending_class_, applicant_);
    }
    pace_.spent(os::ticks() - now);
}

WatchPlan Watcher::plan_large(CounterShard &shard, std::size_t bytes) {
    const Level level = state.level.load(std::memory_order_relaxed);
    pending_weight_ = 0;
    pending_fill_ = level >= Level::guard;
    if (level >= Level::trace) {
        if (large_remaining_ > bytes) {
            large_remaining_ -= bytes;
        } else {
            const std::uint64_t mean = state.sample_bytes.load(std::memory_order_relaxed);
            pending_weight_ = sampling::weight(bytes, mean);
            large_remaining_ = sampling::bytes_to_next(random_, mean);
        }
    }
    return planned(shard, bytes);
}

void Watcher::watched(CounterShard &shard, const Watched &watched, std::size_t bytes, Family family) {
    const std::uint32_t weight = pending_weight_;
    const StackId stack = pending_stack_ != 0 ? pending_stack_ : stack_here(shard);
    Note::Behind behind{
        .filled = pending_fill_ || pending_hunt_, .hunted = pending_hunt_, .header16 = watched.header16};
    if (behind.filled) {
        if (pending_hunt_ && !watched.guard_pages)
            behind.spare =
                static_cast<std::uint32_t>(size_classes::usable_bytes(size_classes::of_request(bytes)) - bytes);
        behind.slack = static_cast<std::uint32_t>(std::min(watched.room - bytes - behind.spare, kMostSlack));
    }
    if (behind.filled) {
        put_slack(watched.end() - behind.slack, watched.end(), hunt.has_aimed());
        // Not the byte right before the block: that is its header.
        if (watched.front != 0) fill::put<fill::kSlack>(watched.user - watched.front, watched.user - 1);
    }
    if (pending_hunt_) hunt.count_hunted(1);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    Note(watched.note).begin(stack, family, weight, behind);
    if (pending_place_) place(watched, bytes, behind.slack);
    if (weight != 0) state.stacks.count_allocated(stack, weight, block_bytes(watched));
}

void Watcher::place(const Watched &watched, std::size_t bytes, std::uint32_t slack) {
    const std::uint64_t now = os::ticks();
    std::uintptr_t byte = watched.end() - slack;
    // Without the note's help: what is behind the asked size is slack right away at guard.
    if (pending_fill_ && hunt.first_bad() < slack) byte = watched.user + bytes + hunt.first_bad();
    const Hunt::Placed placed =
        hunt.place(watched.block, pending_class_, byte, applicant_, moves_.may(now, move_cost_));
    Note(watched.note).set_place(placed.place);
    const std::uint64_t took = Pace::own(os::ticks() - now);
    if (placed.moved_shared) move_cost_ += (static_cast<std::int64_t>(took) - move_cost_) / 4;
    (placed.moved_shared ? moves_ : pace_).spent(took);
}

void Watcher::narrowed(const Watched &watched, std::size_t bytes) {
    Note note(watched.note);
    note.set_user_offset(watched.user - watched.block);
    if (!note.filled() || note.hunted()) return;
    const std::uintptr_t end = watched.user + bytes;
    put_slack(end, watched.end(), hunt.has_aimed());
    if (watched.front != 0) fill::put<fill::kSlack>(watched.user - watched.front, watched.user - 1);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    note.set_slack(static_cast<std::uint32_t>(watched.end() - end));
}

std::size_t Watcher::usable_bytes(const Watched &watched) {
    const Note note(watched.note);
    return watched.end() - watched.user - (note.state() == Note::State::live ? note.slack() : 0);
}

bool Watcher::may_resize(const Watched &watched) { return !Note(watched.note).filled(); }

std::uint32_t Watcher::resizing(CounterShard &shard, const Watched &watched, std::size_t bytes) {
    Note note(watched.note);
    const std::uint64_t asked = asked_bytes(watched, note);
    // What is wrong with how it was asked for is found when it moves.
    if (note.state() != Note::State::live || note.hunted() || note.family() != Family::malloc) return 0;
    if (state.level.load(std::memory_order_relaxed) < Level::guard) return 0;
    // Writes to what it gives up are seen, as writes to slack.
    if (bytes < asked && (bytes < asked / 2 || watched.end() - watched.user - bytes > kMostSlack)) return 0;
    check_slack(shard, watched, false);
    note.set_slack(0);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    return kUsualSlack;
}

void Watcher::put_back(const Watched &watched, std::size_t bytes) {
    const std::size_t slack = std::min(watched.end() - watched.user - bytes, kMostSlack);
    put_slack(watched.end() - slack, watched.end(), hunt.has_aimed());
    std::atomic_signal_fence(std::memory_order_seq_cst);
    Note(watched.note).set_slack(static_cast<std::uint32_t>(slack));
}

void Watcher::resized(CounterShard &shard, const Watched &watched, std::size_t bytes) {
    Note note(watched.note);
    if (!note.filled()) return note.set_slack(0);
    // Its share of the profile stays what it was when it was sampled.
    if (!note.sampled()) note.set_alloc_stack(stack_here(shard));
    note.clear_told();
    put_back(watched, bytes);
}

// ---- free ----

bool Watcher::check_slack(CounterShard &shard, const Watched &watched, bool found_later) {
    const Note note(watched.note);
    if (!note.filled() || note.told()) return true;
    const std::uintptr_t asked_end = watched.end() - note.slack();
    std::uintptr_t changed = 0;
    std::int64_t offset = 0;
    if (const std::uintptr_t front = changed_in_front(watched, !found_later); front != 0) {
        if (note.header16() && watched.user - front <= BlockHeader::kBytes) {
            const Undisturbed undisturbed;
            report_header16(shard, watched, found_later);
            return false;
        }
        changed = front;
        offset = static_cast<std::int64_t>(front - watched.user);
    } else {
        changed = changed_fill(watched, asked_end, watched.end(), !found_later);
        if (changed == 0) return true;
        offset = static_cast<std::int64_t>(changed - asked_end);
    }
    hunt.missed(note.place());
    const Undisturbed undisturbed;
    Finding finding = finding_of(Kind::redzone_overwritten, watched);
    finding.facts.left_block = watched.user;
    finding.facts.left_state = SlotState::in_use;
    record_incident(shard, finding,
                    {.alloc = note.alloc_stack(),
                     .suspect_alloc = note.alloc_stack(),
                     .asked_bytes = asked_bytes(watched, note),
                     .offset_known = true,
                     .offset = offset,
                     .dump_center = changed,
                     .found_later = found_later});
    return false;
}

bool Watcher::looks_well(const Watched &watched) {
    const Note note(watched.note);
    if (note.told()) return true;
    switch (note.state()) {
        case Note::State::live:
            if (!aligned_header_holds(watched, note)) return false;
            return !note.filled() || note.slack() > watched.room ||
                   (changed_in_front(watched, false) == 0 &&
                    changed_fill(watched, watched.end() - note.slack(), watched.end(), false) == 0);
        case Note::State::kept:
            return !note.poisoned() ||
                   changed_freed(watched, watched.block + note.user_offset(), watched.end(), false) == 0;
        case Note::State::none:
            break;
    }
    return true;
}

void Watcher::report_header16(CounterShard &shard, const Watched &watched, bool found_later) {
    const Note note(watched.note);
    Finding finding = finding_of(Kind::large_header_corrupt, watched);
    finding.facts.header_known = os::safe_read(watched.user - 1, &finding.facts.header_found, 1);
    finding.facts.header_expected = watched.guard_pages ? BlockHeader::kGuarded : BlockHeader::kAligned;
    const Evidence evidence{
        .alloc = note.alloc_stack(), .asked_bytes = asked_bytes(watched, note), .found_later = found_later};
    record_incident(shard, finding, evidence);
}

bool Watcher::report_found(CounterShard &shard, const Watched &watched) {
    Note note(watched.note);
    bool well = true;
    if (note.state() == Note::State::live) {
        Watched whole = watched;
        whole.user += note.user_offset();
        if (aligned_header_holds(watched, note)) {
            well = check_slack(shard, whole, true);
        } else {
            report_header16(shard, whole, true);
            // Right again, the block's own free finds nothing.
            BlockHeader::store(pointer_to(whole.user), whole.user - whole.block, BlockHeader::kAligned);
            return true;
        }
    } else if (note.state() == Note::State::kept) {
        well = check_kept(shard, watched, false);
    }
    // The owner's own check is not to find it once more.
    if (!well) note.set_told();
    return !well;
}

bool Watcher::check_kept(CounterShard &shard, const Watched &watched, bool owned) {
    const Note note(watched.note);
    if (!note.poisoned() || note.told()) return true;
    // A 16-byte header before the user's memory stands as it was.
    const std::uintptr_t user = watched.block + note.user_offset();
    const std::uintptr_t changed = changed_freed(watched, user, watched.end(), owned);
    if (changed == 0) return true;
    const Undisturbed undisturbed;
    Watched whole = watched;
    whole.user = user;
    Finding finding = finding_of(Kind::use_after_free_write, whole);
    finding.facts.state = SlotState::free_slot;
    record_incident(shard, finding,
                    {.alloc = note.alloc_stack(),
                     .previous_free = note.free_stack(),
                     .asked_bytes = asked_bytes(whole, note),
                     .offset_known = true,
                     .offset = static_cast<std::int64_t>(changed - user),
                     .dump_center = changed,
                     .found_later = true});
    return false;
}

void Watcher::report_caught(CounterShard &shard, const Watched &watched, std::uintptr_t address,
                            const backtrace::Trace &trace) {
    Note note(watched.note);
    const bool freed = note.state() == Note::State::kept;
    const std::uintptr_t user = watched.block + note.user_offset();
    const std::uint64_t asked = watched.end() - note.slack() - note.spare() - user;
    Finding finding;
    finding.kind = Kind::header_write_caught;
    BlockFacts &facts = finding.facts;
    // What would be the next block: its header is the byte that was written to.
    facts.address = address + 1;
    facts.owner = watched.large ? Owner::large : Owner::small;
    facts.slot_bytes = block_bytes(watched);
    if (note.hunted() && !watched.large) facts.slot_bytes -= note.slack();
    facts.header_known = !watched.guard_pages;
    if (facts.header_known) facts.header_found = header_byte::load(pointer_to(facts.address));
    facts.header_expected = fill::kSlack;
    facts.left_block = user;
    facts.left_state = freed ? SlotState::free_slot : SlotState::in_use;
    facts.mapped = true;
    // Its free is not to report the same write.
    note.set_told();
    hunt.caught();
    record_incident(shard, finding,
                    {.alloc = note.alloc_stack(),
                     .previous_free = freed ? note.free_stack() : 0,
                     .suspect_alloc = note.alloc_stack(),
                     .asked_bytes = asked,
                     .offset_known = true,
                     .offset = static_cast<std::int64_t>(address - user - asked),
                     .writer = &trace});
}

void Watcher::report_access(CounterShard &shard, const Watched &watched, std::uintptr_t address, bool write,
                            const backtrace::Trace &trace) {
    Note note(watched.note);
    if (note.hunted() && note.state() == Note::State::live && write && address >= watched.end())
        return report_caught(shard, watched, address, trace);
    const bool freed = note.state() == Note::State::kept;
    const std::uint64_t asked = asked_bytes(watched, note);
    Evidence evidence{.alloc = note.alloc_stack(),
                      .previous_free = freed ? note.free_stack() : 0,
                      .asked_bytes = asked,
                      .dump_center = watched.user};
    Finding finding = finding_of(Kind::guard_page_access, watched);
    finding.facts.address = address;
    finding.facts.state = freed ? SlotState::free_slot : SlotState::in_use;
    const bool in_block = address - watched.user < watched.end() - watched.user;
    const bool right_behind = address - watched.end() < os::kPageBytes;
    // What would be found later, if it were not for the guard pages, is the same bug here, with the writer known.
    if (write && state.options.guard_sample != 1 && (freed ? in_block : right_behind)) {
        finding.kind = freed ? Kind::use_after_free_write : Kind::redzone_overwritten;
        finding.facts.address = watched.user;
        evidence.offset_known = true;
        evidence.offset = static_cast<std::int64_t>(address - watched.user);
        evidence.writer = &trace;
        if (!freed) {
            // It came by the slack on its way.
            const std::uintptr_t end = watched.user + asked;
            const std::uintptr_t first = changed_fill(watched, end, watched.end(), false);
            evidence.offset = static_cast<std::int64_t>((first != 0 ? first : address) - end);
            finding.facts.left_block = watched.user;
            finding.facts.left_state = SlotState::in_use;
            evidence.suspect_alloc = note.alloc_stack();
            // Its free is not to report the same write.
            note.set_told();
        }
    } else {
        evidence.stack = &trace;
    }
    record_incident(shard, finding, evidence);
}

// All that may be out of the ordinary about a free.
[[gnu::noinline]] Watcher::Fate Watcher::look_closely(CounterShard &shard, const Watched &watched, Giving giving) {
    Note note(watched.note);
    if (note.state() != Note::State::live) return Fate::goes;
    if (note.hunted()) {
        check_slack(shard, watched, false);
        hunt.count_hunted(-1);
        pace_.spent(2 * kVisitTicks);
    } else if (note.filled()) {
        const bool family_fits = note.family() == giving.family;
        const std::uint64_t asked = asked_bytes(watched, note);
        const bool size_fits = giving.bytes == kAnyBytes || giving.bytes == asked;
        if (!family_fits || !size_fits) {
            const Undisturbed undisturbed;
            record_incident(shard,
                            finding_of(family_fits ? Kind::size_mismatch : Kind::alloc_dealloc_mismatch, watched),
                            {.alloc = note.alloc_stack(), .asked_bytes = asked});
        }
        check_slack(shard, watched, false);
    }
    if (note.sampled()) state.stacks.count_freed(note.alloc_stack(), note.weight(), block_bytes(watched));

    if (const unsigned place = note.place(); place != 0) {
        note.set_place(0);
        note.keep(state.level.load(std::memory_order_relaxed) >= Level::trace ? stack_here(shard) : 0, false);
        if (hunt.keep(place, watched.block)) return Fate::stays;
        note.set_state(Note::State::none);
        return Fate::goes;
    }
    // Its place is kept for as long as there are not too many of them (guarded_pages.h).
    if (watched.guard_pages) {
        note.keep(stack_here(shard), false);
        return Fate::stays;
    }
    return Fate::to_quarantine;
}

bool Watcher::freed(CounterShard &shard, const Watched &watched, Giving giving) {
    const Fate fate = look_closely(shard, watched, giving);
    if (fate != Fate::to_quarantine) return fate == Fate::stays;
    Note note(watched.note);
    const Level level = state.level.load(std::memory_order_relaxed);
    const std::uint64_t limit = quarantine_limit(level);
    const bool poison = note.filled() && level >= Level::guard;
    const std::size_t bytes = block_bytes(watched);
    const bool fits = bytes <= limit / kLargestShare && bytes <= UINT32_MAX;
    // Room first, so that what comes in now is not what goes out.
    trim_quarantine(shard, fits ? limit - bytes : limit, fits ? bytes : 0);
    if (fits) return keep(watched, stack_here(shard), poison);
    note.set_state(Note::State::none);
    return false;
}

void Watcher::release(CounterShard &shard, std::uintptr_t block, std::size_t small_bytes, BlockNote *note) {
    const auto release_checked = [&](const Watched &watched) {
        if (!is_as_left(block, small_bytes, note)) check_kept(shard, watched, true);
        Note(watched.note).set_state(Note::State::none);
        release_kept(watched);
    };
    if (small_bytes != 0) return release_checked(watched_small(block, block, small_bytes, note));
    const Undisturbed undisturbed;
    Watched watched;
    if (find_watched(block, watched)) release_checked(watched);
}

void Watcher::trim_quarantine(CounterShard &shard, std::uint64_t most, std::size_t coming) {
    // Two for each that comes, and as many bytes: bounds that other threads have left behind are reached in time, and
    // no free takes long. Little is what all of them are not told of: at `trace`, the bound is each thread's.
    const bool each = !watches_all_;
    const auto is_over = [&] {
        return each ? quarantine_.own_bytes() > static_cast<std::int64_t>(most) : quarantine_.is_over(most);
    };
    std::size_t gone = 0;
    for (int i = 0; (i < 2 || gone < coming) && is_over(); ++i) {
        const Quarantine::Kept kept = quarantine_.pop();
        gone += kept.bytes;
        release(shard, kept.block, kept.small_bytes(), kept.note);
    }
}

void Watcher::forget(const Watched &watched) {
    Note note(watched.note);
    if (note.state() != Note::State::live) return;
    if (note.sampled()) state.stacks.count_freed(note.alloc_stack(), note.weight(), block_bytes(watched));
    if (note.hunted()) hunt.count_hunted(-1);
    if (note.place() != 0) hunt.drop(note.place(), watched.block);
    note.set_state(Note::State::none);
}

void Watcher::refused(const Watched &watched, std::uintptr_t address) {
    Note note(watched.note);
    if (note.state() == Note::State::live && note.user_offset() != 0 && address == watched.block + note.user_offset())
        note.set_told();
}

void Watcher::release_all(CounterShard &shard) {
    while (!quarantine_.empty()) {
        quarantine_.fetch();
        const Quarantine::Kept kept = quarantine_.pop();
        release(shard, kept.block, kept.small_bytes(), kept.note);
    }
}

void Watcher::end(CounterShard &shard) {
    if (applicant_.seat != 0 && hunt_session_ == hunt.session()) hunt.leave_seat(applicant_.seat);
    applicant_.seat = 0;
    release_all(shard);
    quarantine_.release_memory();
    stop();
}

}  // namespace hakmem
