// The hunt: from a block whose header was overwritten to the instruction that does it, in the running process.
//
// An incident arms it and names a suspect: a size class at least, and where it is known who allocated the block that
// was written past, that site. From then on some of the allocations of that class are hunted: each gets slack behind
// it, which an overflow hits instead of the neighbour. Slack that turns out changed when the block is freed tells the
// site, if that was not known. Blocks of a guilty site are put into places, where a watchpoint of the processor
// (watchpoints.h) is on the byte behind the block: two places that all threads watch, and two of each thread's own. A
// place keeps its block when that is freed, for the site's next allocation: so the watchpoints stay where they are. A
// block that stays too long leaves its place to a younger one; in a thread's own that costs a system call, in the
// others many. Where there are no watchpoints, the site's blocks get guard pages instead.
//
// Nothing here waits for a lock: allocations that come at the wrong moment are not hunted.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/fault.h"
#include "core/probe.h"
#include "core/watch.h"
#include "diag/incident.h"
#include "diag/note.h"
#include "diag/watchpoints.h"
#include "segment/layout.h"

namespace hakmem {

class Hunt {
  public:
    // What is known about who allocates a block.
    enum class Role { innocent, unknown, guilty };

    // True if allocations of that class are to be looked at.
    bool wants(std::size_t size_class) const { return (classes() >> size_class & 1) != 0; }
    // A bit for each class that is. Where that changes, state.changes does too.
    std::uint32_t classes() const { return classes_.load(std::memory_order_relaxed); }
    bool on() const { return classes() != 0; }
    // Changes when there is something new to look for.
    std::uint32_t round() const { return round_.load(std::memory_order_relaxed); }
    // Changes when everything was closed: seats from before are none any more.
    std::uint32_t session() const { return session_.load(std::memory_order_acquire); }
    bool by_watchpoints() const { return means_.load(std::memory_order_relaxed) == segment::HuntMeans::watchpoints; }
    // The watchpoints are in use: for a guilty site, or because slack alone has found none for too long. Not before:
    // processors store wide vectors much slower while any watchpoint is set.
    bool aims() const { return aims_.load(std::memory_order_acquire); }
    // They are, or have been.
    bool has_aimed() const { return aims() || session() != kFirstSession; }
    Role role(StackId alloc_stack) const;

    // An incident was recorded. Arms the hunt where that is the process's own business (hunt=auto) and learns from it.
    void learn(const Finding &finding, const Evidence &evidence);
    // Somebody asks for it: behind the incident of that key, or, where this process has none such, in blocks of that
    // slot size. False if there is nothing to go by.
    bool arm(std::uint64_t incident_key, std::uint32_t slot_bytes);
    // Closes what a hunt that is over has left open. In slow paths.
    bool is_over() const { return over_.load(std::memory_order_relaxed); }
    void tidy_up() {
        if (is_over()) [[unlikely]]
            close();
    }
    // In the child, which has none of the watchpoints. `release_blocks`: its thread can take back what was kept.
    void restart_after_fork(bool release_blocks);

    // How far past the asked size the first bad byte was, where that is what is known.
    std::uint32_t first_bad() const { return first_bad_.load(std::memory_order_relaxed); }

    // ---- places ----

    // The calling thread's own two places; 0: it has none, and gets none.
    using Seat = unsigned;
    Seat take_seat();
    void leave_seat(Seat seat);

    // Who asks for a place, and which kind it tries first.
    struct Applicant {
        Seat seat;
        bool shared_first;
    };

    // A place's block that is free and whose slots are of that class, for the next allocation; 0 if there is none. It
    // is the caller's now.
    std::uintptr_t take_idle(std::size_t slot_class, const Applicant &applicant);

    // Puts a block into a place, and the place's watchpoint on the byte at `watched_byte`. `may_move_shared` says
    // whether moving that of all threads is not too dear now.
    struct Placed {
        unsigned place = 0;  // its number; 0: none
        bool moved_shared = false;
    };
    Placed place(std::uintptr_t block, std::size_t slot_class, std::uintptr_t watched_byte, const Applicant &applicant,
                 bool may_move_shared);
    // The block is free and its note says so: true if its place keeps it.
    bool keep(unsigned place, std::uintptr_t block) { return settle(place, block, on() && by_watchpoints()); }
    // The block is gone in some other way.
    void drop(unsigned place, std::uintptr_t block) { settle(place, block, false); }
    // The block in the place whose watchpoint is on that byte; 0 if there is none (any more).
    std::uintptr_t block_at(std::uintptr_t watched_byte) const;

    // A writer was caught.
    void caught();
    // A block in that place was written past, and its thread's own watchpoint has not seen it: another thread writes.
    void missed(unsigned place) {
        if (place != 0 && !is_shared(place)) shared_first_.store(true, std::memory_order_relaxed);
    }
    bool shared_first() const { return shared_first_.load(std::memory_order_relaxed); }

    // ---- bounds ----

    // Hunted blocks cost memory: false if there are too many already.
    bool has_room() const { return hunted_blocks_.load(std::memory_order_relaxed) < kMostHunted; }
    void count_hunted(std::int32_t more) { hunted_blocks_.fetch_add(more, std::memory_order_relaxed); }

  private:
    enum class PlaceState : std::uint32_t {
        empty,
        idle,    // keeps a free block
        taken,   // gave it to an allocation that is going on
        busy,    // its block is in use
        moving,  // changes hands
    };
    struct Place {
        std::atomic<PlaceState> state{PlaceState::empty};
        std::uint32_t slot_class = 0;
        std::atomic<std::uintptr_t> block{0};
        std::atomic<std::uintptr_t> watched_byte{0};
        std::atomic<std::uint64_t> since{0};  // ticks
    };

    static constexpr unsigned kShared = SharedWatchpoints::kPlaces;
    static constexpr unsigned kOwn = 2;
    static constexpr unsigned kSeats = 64;
    static constexpr unsigned kPlaces = kShared + kSeats * kOwn;
    static constexpr std::uint32_t kMostSites = 8;
    static constexpr std::int32_t kMostHunted = 8192;
    // So many headers more are overwritten, and the site is still not known: watchpoints for all.
    static constexpr std::uint32_t kPatience = 8;
    // Writers of one bug are few; what is caught this often has been named.
    static constexpr std::uint32_t kMostCaught = 16;

    void pursue(std::uint32_t classes, std::uint64_t site);
    bool prepare();
    bool aim();
    void close();
    bool claim(Place &place, PlaceState from) {
        return place.state.compare_exchange_strong(from, PlaceState::moving, std::memory_order_acquire);
    }
    // The numbers of the places that an applicant may have, in its order; and whether that one is of all threads.
    struct Choice {
        unsigned numbers[kShared + kOwn];
        unsigned count;
    };
    static Choice choice_of(const Applicant &applicant);
    Place &place_of(unsigned number) { return places_[number - 1]; }
    static bool is_shared(unsigned number) { return number <= kShared; }
    static unsigned own_number(Seat seat, unsigned which) { return 1 + kShared + (seat - 1) * kOwn + which; }
    unsigned choose(std::uint64_t now, const Applicant &applicant, bool may_move_shared, PlaceState &was);
    bool move(unsigned number, std::uintptr_t byte);
    bool settle(unsigned number, std::uintptr_t block, bool stays);
    bool empty(Place &place, std::uintptr_t &kept);
    static void release(std::uintptr_t block);

    std::atomic<std::uint32_t> classes_{0};
    std::atomic<std::uint32_t> done_{0};  // classes in which the writer was caught
    std::atomic<std::uint32_t> round_{0};
    static constexpr std::uint32_t kFirstSession = 1;
    std::atomic<std::uint32_t> session_{kFirstSession};
    std::atomic<segment::HuntMeans> means_{segment::HuntMeans::none};
    std::atomic<std::uint64_t> sites_[kMostSites] = {};
    std::atomic<std::uint32_t> sites_used_{0};
    std::atomic<std::uint32_t> first_bad_{0};
    std::atomic<std::uint32_t> caught_{0};
    std::atomic<std::uint32_t> fruitless_{0};  // headers overwritten since it was armed
    std::atomic<bool> aims_{false};
    std::atomic<bool> shared_first_{false};
    std::atomic<bool> over_{false};
    std::atomic<bool> changing_{false};  // somebody prepares or closes
    std::atomic<std::int32_t> hunted_blocks_{0};
    Place places_[kPlaces] = {};
    SharedWatchpoints shared_;
    struct OwnWatchpoints {
        std::atomic<bool> taken{false};
        Watchpoint points[kOwn];
    };
    OwnWatchpoints seats_[kSeats] = {};
};

extern constinit Hunt hunt;

}  // namespace hakmem
