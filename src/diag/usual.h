// What happens to nearly every small block at `guard`, once it is allocated and once it is freed: in one piece with the
// allocator's own code, and nothing is looked at that is rarely the case. Whatever isn't as usual goes to watch.cpp,
// which knows all cases.
#pragma once

#include <algorithm>
#include <atomic>

#include "core/notes.h"
#include "diag/fill.h"
#include "diag/watch.h"

namespace hakmem {

// Of a small one: its slot's.
inline std::size_t block_bytes(const Watched &watched) { return watched.large ? watched.room : watched.room + 1; }

// At `guard`, two a block: most are known.
[[gnu::always_inline]] inline StackId Watcher::stack_at(segment::CounterShard &shard, std::uintptr_t frame) {
    const StackId id = kWalksStacks ? stack_memory_.find(frame) : 0;
    if (id == 0) [[unlikely]]
        return stack_from_afar(shard, frame);
    ++shard.backtraces[static_cast<unsigned>(segment::BacktraceCause::sample)];
    return id;
}

// `aimed`: somewhere in it may be a watchpoint.
[[gnu::always_inline]] inline void Watcher::put_slack(std::uintptr_t begin, std::uintptr_t end, bool aimed) {
    if (aimed) [[unlikely]]
        put_slack_under_watch(begin, end);
    else
        fill::put<fill::kSlack>(begin, end);
}

// ---- allocation ----

[[gnu::always_inline]] inline StackId Watcher::plan_usual(segment::CounterShard &shard, std::size_t size_class,
                                                          std::uintptr_t frame) {
    if (remaining_[size_class] <= 1 || (hunted_classes_ >> size_class & 1) != 0) return kNoNumber;
    // Before the unwinder, which may allocate: the next one is due, whoever makes it.
    countdown_[size_class] = 1;
    const StackId stack = stack_at(shard, frame);
    if (one_in_ == 0) return stack;
    const std::uint64_t draw = draws_.next();
    if (is_sampled(draw, one_in_)) return stack | kUnusual;
    const std::uint16_t site = state.stacks.near_site(stack);
    return state.site_turns.may_be_due(site, of_site(draw)) && may_guard(site) ? stack | kUnusual : stack;
}

[[gnu::always_inline]] inline void Watcher::watched_usual(StackId stack, const Watched &watched, std::size_t bytes,
                                                          std::size_t size_class, Family family) {
    --remaining_[size_class];
    const std::size_t slack = watched.room - bytes;
    put_slack(watched.end() - slack, watched.end(), hunt_has_aimed_);
    // An audit may come by at any moment: the bytes are there before the note says so, here and below.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    Note(watched.note).begin(stack, family, 0, {.slack = static_cast<std::uint32_t>(slack), .filled = true});
}

// ---- free ----

[[gnu::always_inline]] inline StackId Watcher::free_usual(segment::CounterShard &shard, const Watched &watched,
                                                          std::uintptr_t frame, Giving giving) {
    const Note note(watched.note);
    if (!note.only_filled(giving.family)) return kNoNumber;
    const std::uint32_t slack = note.slack();
    const std::uintptr_t asked_end = watched.end() - slack;
    if (slack < kUsualSlack || slack > watched.room ||
        (giving.bytes != kAnyBytes && giving.bytes != asked_end - watched.user) ||
        !fill::is_whole<fill::kSlack>(asked_end, watched.end()) || block_bytes(watched) > largest_kept_)
        return kNoNumber;
    return stack_at(shard, frame);
}

[[gnu::always_inline]] inline bool Watcher::keep(const Watched &watched, StackId stack, bool poison) {
    Note note(watched.note);
    const bool kept = quarantine_.push(
        {watched.block, watched.large, static_cast<std::uint32_t>(block_bytes(watched)), watched.note});
    note.set_state(Note::State::none);
    if (!kept) return false;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (poison) fill::put_freed(watched.user, watched.end());
    std::atomic_signal_fence(std::memory_order_seq_cst);
    note.keep(stack, poison);
    return true;
}

[[gnu::always_inline]] inline bool Watcher::keep_usual(const Watched &watched, StackId stack) {
    return keep(watched, stack, true);
}

// As keep_usual has left it.
[[gnu::always_inline]] inline bool Watcher::is_as_left(std::uintptr_t block, std::size_t small_bytes, BlockNote *note) {
    return small_bytes != 0 && Note(note).only_poisoned() &&
           fill::is_whole<fill::kFreed>(block, block + small_bytes - 1);
}

template <class Release>
[[gnu::always_inline]] inline void Watcher::make_room(segment::CounterShard &shard, std::size_t bytes,
                                                      Release release_small) {
    if (!quarantine_.has_room_for(bytes)) make_room_now(shard, bytes, release_small);
}

template <class Release>
[[gnu::noinline]] void Watcher::make_room_now(segment::CounterShard &shard, std::size_t bytes, Release release_small) {
    const std::uint64_t limit = state.options.quarantine_bytes;
    if (quarantine_.is_over(limit - bytes)) {
        // Several at once, and then none for a while: when a few have to go, no branch can foresee. As much as comes,
        // at least.
        const std::uint64_t most = limit - bytes - std::min((limit - bytes) / 16, kRoomBytes);
        std::int64_t excess = quarantine_.excess(most);
        std::size_t gone = 0;
        for (int i = 0; (i < kRoomBlocks || gone < bytes) && excess > 0 && !quarantine_.empty(); ++i) {
            const Quarantine::Kept kept = quarantine_.pop();
            excess -= kept.bytes;
            gone += kept.bytes;
            if (is_as_left(kept.block, kept.small_bytes(), kept.note) && !notes::singles.holds(kept.note)) [[likely]] {
                Note(kept.note).set_state(Note::State::none);
                release_small(kept.block, kept.bytes);
            } else {
                release(shard, kept.block, kept.small_bytes(), kept.note);
            }
        }
    }
    quarantine_.take_room(limit);
}

}  // namespace hakmem
