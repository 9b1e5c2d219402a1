// The Probe: the one place where the allocator's mechanism meets a policy.
//
// `Allocator<Probe>` calls these named points. Every function of `ProductionProbe` (src/malloc/) is empty and inlined
// to nothing; `DiagProbe` (src/diag/) counts, records and reports. The first group runs on the fast path and must be a
// few instructions without calls; the rest runs in slow paths. No probe function may allocate, throw, or be called
// while the allocator holds one of its locks, except `heap_changed`, which runs under the page heap's lock and may only
// store. A probe keeps errno as it found it.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>

#include "core/fault.h"
#include "core/watch.h"
#include "segment/layout.h"

namespace hakmem {

// Sizes of the whole heap in bytes, handed to `heap_changed`.
using segment::HeapGauges;
using segment::MincoreResult;
using segment::SlowReason;

// Slot size of each small class, for the reader of the counters.
using SlotBytes = std::uint32_t[segment::kSizeClasses];

// How a probe hands a block back that it kept (watched_freed): the allocator's function, to be called with no lock
// held.
using ReleaseKept = void (*)(const Watched &);

template <class P>
concept Probe = requires(typename P::ThreadState &state, unsigned size_class, std::size_t bytes, SlowReason reason,
                         MincoreResult mincore, const Finding &finding, const HeapGauges &gauges,
                         const SlotBytes &slot_bytes, ReleaseKept release_kept) {
    // Lives in the thread cache (TLS); all-zero bytes are its valid initial value.
    typename P::ThreadState;

    // Fast path: true if the probe wants to see this allocation of a small block, which then takes the slow path.
    { P::due(state, size_class) } -> std::same_as<bool>;

    // Fast path: a small block was handed out or taken back by its one-byte header.
    {P::allocated(state, size_class)};
    {P::freed(state, size_class)};

    // A block with a 16-byte header; `bytes` is the size of the block as cut from its pages.
    {P::large_allocated(state, bytes)};
    {P::large_freed(state, bytes)};
    // A free that was answered by a 16-byte header (in addition to the above), and one no header could answer.
    {P::freed_by_header16(state)};
    {P::freed_slowly(state)};

    {P::slow_path(state, reason)};
    {P::mincore_called(state, mincore)};

    // A free whose header was invalid or whose block is not in use. Called before anything is repaired, with no lock
    // held, in the thread that frees. May not return (on_error=abort).
    {P::bad_free(state, finding)};

    // True for a policy that wants heap_changed and library_started at all.
    { P::kDiagnostic } -> std::convertible_to<bool>;

    // Once a process, before anything else here: at the first use of the allocator, which may come before libc's and
    // our own constructors. And at a clean exit; what comes after it is counted all the same.
    {P::library_started(slot_bytes, release_kept)};
    {P::library_ended()};

    // The thread's first and last use of the allocator. Between them `state` is usable. `thread_ending` comes first of
    // the last and may still release what the probe has kept.
    {P::thread_started(state)};
    {P::thread_ending(state)};
    {P::thread_ended(state)};

    // Called about once a refill or flush, with no lock held: the place to look at the control word.
    {P::poll(state)};

    // The heap's sizes changed; under the page heap's lock.
    {P::heap_changed(gauges)};

    // Around fork, in the forking thread. `fork_child` runs before the child can allocate.
    {P::before_fork()};
    {P::after_fork_in_parent()};
    {P::after_fork_in_child(state)};

    // True where every free is to be checked against the span's metadata before it is accepted.
    { P::verify_frees() } -> std::same_as<bool>;
};

// What a diagnostic policy (kDiagnostic) has beyond a Probe: it watches blocks (watch.h).
template <class P>
concept WatchingProbe = Probe<P> &&
    requires(typename P::ThreadState &state, std::size_t bytes, std::size_t size_class, const Watched &watched,
             Family family, Giving giving, const Finding &finding, std::uintptr_t frame, std::uint32_t number,
             void (*release)(std::uintptr_t, std::size_t)) {
    // An allocation that was due, of a small block, with what plan_usual has said of it, if it was asked; and every
    // allocation of a large one.
    { P::plan(state, bytes, size_class, number) } -> std::same_as<WatchPlan>;
    { P::plan_large(state, bytes) } -> std::same_as<WatchPlan>;
    // Every allocation is due: also those that `due` is not asked for.
    { P::watches_all(state) } -> std::same_as<bool>;
    // Nearly every small block, where all are watched. A number of the policy's own for the block at hand, to be handed
    // back; an unusual one where anything is out of the ordinary. `frame` is where the
    // frame pointer points of the function that the program has called, or of a callee of that.
    { P::kUsualSlack } -> std::convertible_to<std::size_t>;
    { P::plan_usual(state, size_class, frame) } -> std::same_as<std::uint32_t>;
    {P::watched_usual(state, number, watched, bytes, size_class, family)};
    { P::free_usual(state, watched, frame, giving) } -> std::same_as<std::uint32_t>;
    // Hands small blocks that were kept long enough back by release(block, slot's bytes), for `bytes` more to come in.
    {P::make_room(state, bytes, release)};
    // As watched_freed.
    { P::keep_usual(state, number, watched) } -> std::same_as<bool>;
    // The block exists now; `bytes` is what the program asked for.
    {P::watched(state, watched, bytes, family)};
    // `user` has moved up inside the block, for alignment.
    {P::narrowed(watched, bytes)};
    // The program frees it. True: the probe keeps it out of reuse until it calls ReleaseKept.
    { P::watched_freed(state, watched, giving) } -> std::same_as<bool>;
    // The kernel has no more memory: what the calling thread keeps is wanted back, by ReleaseKept.
    {P::memory_short(state)};
    // What malloc_usable_size says.
    { P::usable_bytes(watched) } -> std::same_as<std::size_t>;
    // Somebody overwrote the header of a block while it was free; no free is going on.
    {P::found_overwritten(state, finding)};
    // A large block whose room may change without more ado.
    { P::may_resize(watched) } -> std::same_as<bool>;
    // One where it may not is about to stay in its place with `bytes` asked for: the slack it is to have then; 0: it
    // has to move. From here on an audit finds nothing to check, until one of the next two.
    { P::resizing(state, watched, bytes) } -> std::same_as<std::uint32_t>;
    // Any large block was: its room is the new one.
    {P::resized(state, watched, bytes)};
    // It was not, for want of room; `bytes` is what it has.
    {P::not_resized(watched, bytes)};
};

}  // namespace hakmem
