// The policy behind watched blocks (core/watch.h): which allocations to watch at `trace` and `guard`, what to remember
// of them, and what to check when they are freed. One Watcher a thread, in its thread cache; all-zero is a valid start.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "core/probe.h"
#include "diag/backtrace.h"
#include "diag/hunt.h"
#include "diag/note.h"
#include "diag/own_stack.h"
#include "diag/pace.h"
#include "diag/quarantine.h"
#include "diag/sampling.h"
#include "diag/stack_memory.h"
#include "diag/state.h"
#include "segment/layout.h"

namespace hakmem {

class Watcher {
  public:
    // Fast path. True when the allocation is due to be looked at.
    bool due(std::size_t size_class) { return --countdown_[size_class] == 0; }

    // Follows the level in force. Called in slow paths.
    bool is_up_to_date() const { return state.changes.load(std::memory_order_acquire) == changes_seen_; }
    void follow();
    // As of the last time that it did: nearly every small block goes the usual way, below; audits are periodic.
    bool usual() const { return usual_; }
    bool looks_at_time() const { return looks_at_time_; }

    // What nobody asked for at least, behind every block at `guard`: an overflow that skips a few bytes lands here too.
    static constexpr std::uint32_t kUsualSlack = 16;

    // Nearly every small block at `guard`, in few instructions (usual.h): what the rest is to plan, watched and freed.
    // An unusual number or false where anything is out of the ordinary: then nothing has been done to the block.
    // `frame` is where the frame pointer points of the function that the program has called, or of one of its callees,
    // and it is still there.
    StackId plan_usual(segment::CounterShard &shard, std::size_t size_class, std::uintptr_t frame);
    void watched_usual(StackId stack, const Watched &watched, std::size_t bytes, std::size_t size_class, Family family);
    StackId free_usual(segment::CounterShard &shard, const Watched &watched, std::uintptr_t frame, Giving giving);
    bool keep_usual(const Watched &watched, StackId stack);
    // The oldest go, some at once, where there is no room for `bytes` more: release(block, bytes of its slot) for small
    // ones that are as they were left.
    template <class Release>
    void make_room(segment::CounterShard &shard, std::size_t bytes, Release release);

    WatchPlan plan(segment::CounterShard &shard, std::size_t bytes, std::size_t size_class, std::uint32_t number);
    WatchPlan plan_large(segment::CounterShard &shard, std::size_t bytes);
    bool watches_all() const { return watches_all_; }
    void watched(segment::CounterShard &shard, const Watched &watched, std::size_t bytes, Family family);
    static void narrowed(const Watched &watched, std::size_t bytes);
    bool freed(segment::CounterShard &shard, const Watched &watched, Giving giving);
    static std::size_t usable_bytes(const Watched &watched);
    static bool may_resize(const Watched &watched);
    static std::uint32_t resizing(segment::CounterShard &shard, const Watched &watched, std::size_t bytes);
    void resized(segment::CounterShard &shard, const Watched &watched, std::size_t bytes);
    // The slack behind `bytes`, and the note of it.
    static void put_back(const Watched &watched, std::size_t bytes);

    // A bad free that was repaired: what was known of the block ends here.
    static void forget(const Watched &watched);

    // A bad free that was not: where it was of the block's own start, its header is what an audit would find again.
    static void refused(const Watched &watched, std::uintptr_t address);

    // Everything it kept goes back.
    void release_all(segment::CounterShard &shard);
    // The thread ends: what it kept goes back.
    void end(segment::CounterShard &shard);
    // It has ended, and has no shard any more. Should it start once more, it follows the level anew.
    void stop() {
        watches_all_ = usual_ = false;
        stack_memory_.forget();
        changes_seen_ = 0;
    }

    // Around fork.
    void restart_after_fork() {
        applicant_.seat = 0;  // the parent's
        quarantine_.restart_after_fork();
        stack_memory_.forget();
        changes_seen_ = 0;  // starts anew, and draws other numbers than the parent
    }

    // For audits: a glance at a block that others may be changing, and the report if it is still as bad as it looked:
    // true if it was. Nothing of the block is written.
    static bool looks_well(const Watched &watched);
    static bool report_found(segment::CounterShard &shard, const Watched &watched);

    // Checks a block in quarantine, `owned` by this thread or not. True if it is as it was left.
    static bool check_kept(segment::CounterShard &shard, const Watched &watched, bool owned);
    // Somebody touched a block's guard page, or its memory after it was freed.
    static void report_access(segment::CounterShard &shard, const Watched &watched, std::uintptr_t address, bool write,
                              const backtrace::Trace &trace);
    // Somebody wrote to the byte behind a hunted block.
    static void report_caught(segment::CounterShard &shard, const Watched &watched, std::uintptr_t address,
                              const backtrace::Trace &trace);
    // True while this thread itself writes behind a block.
    static bool fills_slack() { return fills_slack_; }
    // Checks the slack of a live block.
    static bool check_slack(segment::CounterShard &shard, const Watched &watched, bool found_later);

    static void report_header16(segment::CounterShard &shard, const Watched &watched, bool found_later);

    static ReleaseKept release_kept;

  private:
    void arm(std::size_t size_class, bool guard);
    void plan_hunt(segment::CounterShard &shard, std::size_t bytes, std::size_t size_class, WatchPlan &plan);
    // Large alignments leave more room behind a block than is worth filling.
    static constexpr std::size_t kMostSlack = std::size_t{64} << 10;
    // Blocks above this share of the quarantine would push everything else out: they go back at once.
    static constexpr std::uint64_t kLargestShare = 4;
    // What goes at once when the quarantine is full.
    static constexpr std::uint64_t kRoomBytes = 4096;
    static constexpr int kRoomBlocks = 16;

    // A draw says guard pages, where one in so many gets them.
    static bool is_sampled(std::uint64_t draw, std::uint32_t one_in) { return (draw >> 32) * one_in >> 32 == 0; }
    // For another decision by its upper bits: those that the first one goes by are the last ones now.
    static std::uint64_t of_site(std::uint64_t draw) { return std::rotl(draw, 24); }

    bool may_guard(std::uint16_t site);
    bool keep(const Watched &watched, StackId stack, bool poison);
    enum class Fate { goes, stays, to_quarantine };
    Fate look_closely(segment::CounterShard &shard, const Watched &watched, Giving giving);
    void place(const Watched &watched, std::size_t bytes, std::uint32_t slack);
    static void put_slack(std::uintptr_t begin, std::uintptr_t end, bool aimed);
    static void put_slack_under_watch(std::uintptr_t begin, std::uintptr_t end);
    StackId stack_here(segment::CounterShard &shard);
    StackId stack_at(segment::CounterShard &shard, std::uintptr_t frame);
    StackId stack_from_afar(segment::CounterShard &shard, std::uintptr_t frame);
    StackId capture(segment::CounterShard &shard, std::uintptr_t frame, bool is_new);
    backtrace::Pace pace_of_unwinding();
    WatchPlan planned(segment::CounterShard &shard, std::size_t bytes, std::uint32_t number = kNoNumber);
    void look_up();
    template <class Release>
    void make_room_now(segment::CounterShard &shard, std::size_t bytes, Release release);
    // Of what the quarantine has kept; no `small_bytes`: a large block.
    static bool is_as_left(std::uintptr_t block, std::size_t small_bytes, BlockNote *note);
    static void release(segment::CounterShard &shard, std::uintptr_t block, std::size_t small_bytes, BlockNote *note);
    void trim_quarantine(segment::CounterShard &shard, std::uint64_t most, std::size_t coming);

    static constinit thread_local bool fills_slack_ __attribute__((tls_model("initial-exec")));

    std::uint32_t countdown_[segment::kSizeClasses] = {};
    std::uint32_t armed_[segment::kSizeClasses] = {};      // where the countdown started
    std::uint64_t remaining_[segment::kSizeClasses] = {};  // allocations to the next sample when it did
    std::uint64_t large_remaining_ = 0;                    // bytes
    sampling::Random random_;
    std::uint32_t changes_seen_ = 0;
    // Allocations of a class after which the thread looks up at the latest, also where there is nothing to sample:
    // about every kLookUpMs, by how long the last ones took.
    std::uint32_t look_up_after_ = 1;
    std::uint64_t looked_up_ms_ = 0;
    bool watches_all_ = false;
    bool usual_ = false;          // watches_all_, and it can count
    bool looks_at_time_ = false;  // there is an audit every so often
    bool hunt_has_aimed_ = false;
    std::uint32_t hunted_classes_ = 0;
    std::uint32_t one_in_ = 0;        // guard_sample
    std::uint32_t largest_kept_ = 0;  // bytes of a block that may fill so much of the quarantine
    std::uint32_t unwound_ = 0;       // by the unwinder, since they were last counted
    std::uint64_t unwound_since_ms_ = 0;
    bool unwinds_fast_ = false;
    std::uint32_t pending_weight_ = 0;  // of the block that plan has chosen and watched will get
    bool pending_fill_ = false;
    StackId pending_stack_ = 0;     // taken for the plan already; 0: not
    std::uint64_t refused_ms_ = 0;  // when guard pages were last asked for where there was no room for them
    sampling::Draws draws_;
    bool pending_hunt_ = false;   // gets slack because it is hunted
    bool pending_place_ = false;  // and a watchpoint, if there is one
    std::size_t pending_class_ = 0;
    Hunt::Applicant applicant_{};
    std::uint64_t pending_since_ = 0;
    std::uint32_t hunt_round_ = 0;
    std::uint32_t hunt_session_ = 0;
    Pace pace_;   // of looking at allocations
    Pace moves_;  // of moving a watchpoint of all threads, apart: one is so dear that it would stop the rest
    std::int64_t move_cost_ = 0;  // of a watchpoint of all threads, as seen so far
    Quarantine quarantine_;
    OwnStack own_stack_;
    StackMemory stack_memory_;
};

}  // namespace hakmem
