#include "diag/hunt.h"

#include <sched.h>

#include <algorithm>

#include "core/notes.h"
#include "core/size_classes.h"
#include "diag/state.h"
#include "diag/trap_handler.h"
#include "diag/undisturbed.h"
#include "diag/watch.h"
#include "os/ticks.h"

namespace hakmem {

constinit Hunt hunt;

namespace {

using segment::HuntMeans;
using segment::Level;

constexpr std::uint32_t kAllClasses = 0xFFFFFFFF;

// How long a place's block that is in use stays at least, in ticks of 0.3 to 1 ns: some writers overflow while they
// fill a block, some when it is old. First those that all threads watch.
constexpr std::uint64_t kLeastStay[] = {6'000'000, 150'000'000, 0, 300'000};
// One that is free, for blocks of other classes.
constexpr std::uint64_t kLeastIdle = 6'000'000;

std::uint32_t class_bit(std::uint64_t slot_bytes) {
    const auto &classes = size_classes::kSlotBytes;
    const auto *found = std::find(classes.begin(), classes.end(), slot_bytes);
    return found != classes.end() ? std::uint32_t{1} << (found - classes.begin()) : 0;
}

}  // namespace

// ---- whom to hunt ----

Hunt::Role Hunt::role(StackId alloc_stack) const {
    const std::uint32_t used = std::min(sites_used_.load(std::memory_order_acquire), kMostSites);
    if (used == 0) return Role::unknown;
    const std::uint64_t site = state.stacks.site(alloc_stack);
    for (std::uint32_t i = 0; i < used; ++i)
        if (site != 0 && sites_[i].load(std::memory_order_relaxed) == site) return Role::guilty;
    return Role::innocent;
}

void Hunt::learn(const Finding &finding, const Evidence &evidence) {
    const bool own_business = state.options.hunt == segment::Hunt::automatic;
    if (!own_business && !on()) return;
    // At guard a block's class is not that of what was asked for, and every allocation comes by anyway.
    const bool guard = state.level.load() >= Level::guard;
    if (finding.kind == Kind::header_overwritten && finding.facts.owner == Owner::small) {
        const std::uint32_t classes = guard ? kAllClasses : std::uint32_t{1} << finding.facts.size_class;
        if ((classes & ~done_.load(std::memory_order_relaxed)) != 0)
            pursue(classes, state.stacks.site(evidence.suspect_alloc));
    } else if (finding.kind == Kind::redzone_overwritten) {
        const std::uint32_t classes = guard ? kAllClasses & ~done_.load(std::memory_order_relaxed) : 0;
        if (classes == 0 && !on()) return;
        if (guard && evidence.offset >= 0) first_bad_ = static_cast<std::uint32_t>(evidence.offset);
        pursue(classes, state.stacks.site(evidence.alloc));
    }
}

bool Hunt::arm(std::uint64_t incident_key, std::uint32_t slot_bytes) {
    std::uint32_t classes = class_bit(slot_bytes);
    std::uint64_t site = 0;
    const std::uint32_t used = std::min(state.segment.header().incidents_used, kIncidents);
    for (std::uint32_t i = 0; incident_key != 0 && i < used; ++i) {
        const segment::IncidentRecord &record = state.segment.incident(i);
        if (record.key != incident_key) continue;
        classes |= class_bit(record.suspect_slot_bytes != 0 ? record.suspect_slot_bytes : record.slot_bytes);
        site = StackTable::site_of(record.suspect_alloc.pc, record.suspect_alloc.frames);
    }
    if (state.level.load() >= Level::guard && (classes != 0 || site != 0)) classes = kAllClasses;
    if (classes == 0) return false;
    done_.fetch_and(~classes);
    pursue(classes, site);
    return true;
}

void Hunt::pursue(std::uint32_t classes, std::uint64_t site) {
    const Undisturbed undisturbed;
    bool news = false;
    if (site != 0) {
        const std::uint32_t used = sites_used_.load(std::memory_order_relaxed);
        bool known = false;
        for (std::uint32_t i = 0; i < std::min(used, kMostSites); ++i) known |= sites_[i].load() == site;
        if (!known) {
            sites_[used % kMostSites].store(site, std::memory_order_relaxed);
            sites_used_.store(used + 1, std::memory_order_release);
            news = true;
        }
    }
    if (!on() && !prepare()) return;
    if ((classes & ~classes_.fetch_or(classes)) != 0) news = true;
    if (sites_used_.load() != 0 || fruitless_.fetch_add(1) + 1 > kPatience) news |= aim();
    if (!news) return;
    round_.fetch_add(1, std::memory_order_relaxed);
    state.changes.fetch_add(1, std::memory_order_release);
}

// False if somebody else is at it.
bool Hunt::prepare() {
    if (changing_.exchange(true)) return false;
    if (means_.load() == HuntMeans::none) {
        install_trap_handler();
        means_ = Watchpoint::available() ? HuntMeans::watchpoints : HuntMeans::guard_pages;
        std::atomic_ref(state.segment.header().hunt_means).store(static_cast<std::uint32_t>(means_.load()));
    }
    caught_ = fruitless_ = 0;
    shared_first_ = false;
    over_ = false;
    changing_ = false;
    return true;
}

// True if the watchpoints are in use from now on.
bool Hunt::aim() {
    if (aims() || !by_watchpoints() || changing_.exchange(true)) return false;
    const bool opened = shared_.open();
    if (!opened) {
        means_ = HuntMeans::guard_pages;
        std::atomic_ref(state.segment.header().hunt_means).store(static_cast<std::uint32_t>(HuntMeans::guard_pages));
    }
    aims_ = opened;
    changing_ = false;
    return opened;
}

void Hunt::caught() {
    if (caught_.fetch_add(1) + 1 < kMostCaught) return;
    done_.fetch_or(classes_.exchange(0));
    sites_used_ = 0;
    over_ = true;
    round_.fetch_add(1, std::memory_order_relaxed);
    state.changes.fetch_add(1, std::memory_order_release);
}

// Leaves the place empty and claimed; `kept` is the block that it had kept. False if it is changing hands right now.
bool Hunt::empty(Place &place, std::uintptr_t &kept) {
    constexpr int kTries = 100;
    for (int i = 0; i < kTries; ++i) {
        const bool idle = claim(place, PlaceState::idle);
        if (idle || claim(place, PlaceState::empty) || claim(place, PlaceState::busy)) {
            kept = idle ? place.block.load() : 0;
            place.watched_byte = 0;
            place.block = 0;
            return true;
        }
        sched_yield();
    }
    return false;
}

void Hunt::close() {
    if (changing_.exchange(true)) return;
    const Undisturbed undisturbed;
    std::uintptr_t kept[kPlaces] = {};
    unsigned claimed = 0;
    while (claimed < kPlaces && empty(places_[claimed], kept[claimed])) ++claimed;
    if (claimed == kPlaces) {
        shared_.close();
        for (OwnWatchpoints &seat : seats_) {
            for (Watchpoint &point : seat.points) point.close();
            seat.taken = false;
        }
        aims_ = false;
        session_.fetch_add(1);
        means_ = HuntMeans::none;
        std::atomic_ref(state.segment.header().hunt_means).store(0);
        over_ = false;
    }
    for (unsigned i = 0; i < claimed; ++i) places_[i].state.store(PlaceState::empty, std::memory_order_release);
    changing_ = false;
    for (const std::uintptr_t block : kept)
        if (block != 0) release(block);
}

void Hunt::restart_after_fork(bool release_blocks) {
    changing_ = false;
    if (means_.load() == HuntMeans::none) return;
    for (Place &place : places_)
        if (place.state.load() == PlaceState::moving || place.state.load() == PlaceState::taken)
            place.state = PlaceState::empty;
    classes_ = done_ = sites_used_ = caught_ = 0;
    if (!release_blocks)
        for (Place &place : places_) place.state = PlaceState::empty;
    close();
    round_.fetch_add(1, std::memory_order_relaxed);
    state.changes.fetch_add(1, std::memory_order_release);
}

// ---- places ----

Hunt::Seat Hunt::take_seat() {
    if (!Watchpoint::may_be_tried()) return 0;
    for (Seat seat = 1; seat <= kSeats; ++seat) {
        OwnWatchpoints &own = seats_[seat - 1];
        if (own.taken.load(std::memory_order_relaxed) || own.taken.exchange(true)) continue;
        unsigned opened = 0;
        while (opened < kOwn && own.points[opened].open(0, Watchpoint::Heirs::none)) ++opened;
        if (opened == kOwn) return seat;
        while (opened > 0) own.points[--opened].close();
        own.taken = false;
        return 0;
    }
    return 0;
}

void Hunt::leave_seat(Seat seat) {
    unsigned emptied = 0;
    for (unsigned which = 0; which < kOwn; ++which) {
        Place &place = place_of(own_number(seat, which));
        std::uintptr_t kept = 0;
        if (!empty(place, kept)) continue;
        ++emptied;
        seats_[seat - 1].points[which].close();
        place.state.store(PlaceState::empty, std::memory_order_release);
        if (kept != 0) release(kept);
    }
    if (emptied == kOwn) seats_[seat - 1].taken = false;
}

Hunt::Choice Hunt::choice_of(const Applicant &applicant) {
    Choice choice{};
    const auto add_shared = [&] {
        for (unsigned i = 0; i < kShared; ++i) choice.numbers[choice.count++] = 1 + i;
    };
    const auto add_own = [&] {
        for (unsigned i = 0; applicant.seat != 0 && i < kOwn; ++i)
            choice.numbers[choice.count++] = own_number(applicant.seat, i);
    };
    if (applicant.shared_first) add_shared();
    add_own();
    if (!applicant.shared_first) add_shared();
    return choice;
}

std::uintptr_t Hunt::take_idle(std::size_t slot_class, const Applicant &applicant) {
    const Choice choice = choice_of(applicant);
    for (unsigned i = 0; i < choice.count; ++i) {
        Place &place = place_of(choice.numbers[i]);
        PlaceState expected = PlaceState::idle;
        if (place.state.load(std::memory_order_relaxed) != expected) continue;
        // The class is read once the place is ours: before that it may change hands.
        if (!place.state.compare_exchange_strong(expected, PlaceState::taken, std::memory_order_acquire)) continue;
        if (place.slot_class == slot_class) return place.block.load(std::memory_order_relaxed);
        place.state.store(PlaceState::idle, std::memory_order_release);
    }
    return 0;
}

// The number of the place that shall have the next block, claimed; 0 if all are better left as they are.
unsigned Hunt::choose(std::uint64_t now, const Applicant &applicant, bool may_move_shared, PlaceState &was) {
    const Choice choice = choice_of(applicant);
    for (const bool only_empty : {true, false}) {
        for (unsigned i = 0; i < choice.count; ++i) {
            const unsigned number = choice.numbers[i];
            if (is_shared(number) && !may_move_shared) continue;
            Place &place = place_of(number);
            was = place.state.load(std::memory_order_relaxed);
            std::uint64_t least = 0;
            if (was == PlaceState::idle)
                least = kLeastIdle;
            else if (was == PlaceState::busy)
                least = kLeastStay[is_shared(number) ? number - 1 : kShared + (number - 1 - kShared) % kOwn];
            else if (was != PlaceState::empty)
                continue;
            if (only_empty && was != PlaceState::empty) continue;
            if (was != PlaceState::empty && now - place.since.load(std::memory_order_relaxed) < least) continue;
            if (claim(place, was)) return number;
        }
    }
    return 0;
}

bool Hunt::move(unsigned number, std::uintptr_t byte) {
    if (is_shared(number)) return shared_.move(number - 1, byte);
    const unsigned own = number - 1 - kShared;
    return seats_[own / kOwn].points[own % kOwn].move(byte);
}

Hunt::Placed Hunt::place(std::uintptr_t block, std::size_t slot_class, std::uintptr_t watched_byte,
                         const Applicant &applicant, bool may_move_shared) {
    const std::uint64_t now = os::ticks();
    PlaceState was = PlaceState::taken;
    unsigned number = 0;
    const Choice choice = choice_of(applicant);
    for (unsigned i = 0; i < choice.count; ++i) {
        const Place &one = place_of(choice.numbers[i]);
        if (one.block.load(std::memory_order_relaxed) == block && one.state.load() == was) number = choice.numbers[i];
    }
    if (number == 0) {
        if (!on() || !aims() || !by_watchpoints()) return {};
        number = choose(now, applicant, may_move_shared, was);
        if (number == 0) return {};
    }
    Place &place = place_of(number);
    Placed placed{.place = number};
    const std::uintptr_t before = was == PlaceState::idle ? place.block.load(std::memory_order_relaxed) : 0;
    bool there = true;
    if (place.watched_byte.load(std::memory_order_relaxed) != watched_byte) {
        // What happens to the old block's byte from now on is nobody's business.
        place.watched_byte = 0;
        placed.moved_shared = is_shared(number);
        there = move(number, watched_byte);
    }
    if (there) {
        place.slot_class = static_cast<std::uint32_t>(slot_class);
        place.since.store(now, std::memory_order_relaxed);
        place.block = block;
        place.watched_byte = watched_byte;
    } else {
        means_ = HuntMeans::guard_pages;
        place.block = 0;
        placed.place = 0;
    }
    place.state.store(there ? PlaceState::busy : PlaceState::empty, std::memory_order_release);
    if (before != 0) release(before);
    return placed;
}

bool Hunt::settle(unsigned number, std::uintptr_t block, bool stays) {
    Place &place = place_of(number);
    if (place.block.load() != block || !claim(place, PlaceState::busy)) return false;
    if (!stays) {
        place.watched_byte = 0;
        place.block = 0;
    }
    place.since.store(os::ticks(), std::memory_order_relaxed);
    place.state.store(stays ? PlaceState::idle : PlaceState::empty, std::memory_order_release);
    return stays;
}

std::uintptr_t Hunt::block_at(std::uintptr_t watched_byte) const {
    for (const Place &place : places_)
        if (place.watched_byte.load() == watched_byte) return place.block.load();
    return 0;
}

void Hunt::release(std::uintptr_t block) {
    Watched watched{};
    if (!find_watched(block, watched)) return;
    Note(watched.note).set_state(Note::State::none);
    Watcher::release_kept(watched);
}

}  // namespace hakmem
