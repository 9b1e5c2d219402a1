// Whose turn it is for guard pages at `guard`, besides the sample: the first blocks of every allocation site, and more
// of them ever more rarely. A short program's bug is in the first block of some site; a server's is in a site that has
// long been there. Bounded by a budget of time for the whole process, and the fewer a site gets the more such blocks
// the program holds. One for the process, lock-free, valid at zero; a hash collision costs a site turns, never memory.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hakmem {

class SiteTurns {
  public:
    enum class Turn { none, back, front };

    // A site gets so many for certain, then one in 2, one in 4, …
    static constexpr unsigned kCertain = 4;
    // Blocks that are held between guard pages for their site's sake: the first of a site while there are fewer than
    // this, and half as many for each two that it has had.
    static constexpr unsigned kMostHeld = 4096;
    // Blocks of a page that may be had at once, and how many more a millisecond later: a few microseconds each.
    static constexpr std::int64_t kMostSaved = 512;
    static constexpr std::int64_t kEachMs = 1;

    // False: `take` would say none.
    bool may_be_due(std::uint16_t site, std::uint64_t random) const {
        const unsigned before = had_[site].load(std::memory_order_relaxed);
        return before < kCertain || random >> (63 - (before - kCertain)) == 0;
    }

    // False: it will say so for now, as all that may be held is, or the budget is used up as far as anybody has looked
    // at the clock.
    bool has_room(std::uint16_t site, unsigned held) const {
        return spent_.load(std::memory_order_relaxed) < kMostSaved &&
               held < most_held(had_[site].load(std::memory_order_relaxed));
    }

    // An allocation of `bytes` by `site`, while `held` blocks are between guard pages. `random`: 64 bits.
    Turn take(std::uint16_t site, std::size_t bytes, unsigned held, std::uint64_t random) {
        if (!may_be_due(site, random)) [[likely]]
            return Turn::none;
        std::atomic<std::uint8_t> &had = had_[site];
        const unsigned before = had.load(std::memory_order_relaxed);
        if (held >= most_held(before) || !pay(bytes)) return Turn::none;
        // Two threads at once may count one: no harm.
        if (before < kMostTurns) had.store(static_cast<std::uint8_t>(before + 1), std::memory_order_relaxed);
        // Past the end is the commoner bug, and freed memory is caught at either.
        return before % 4 == 1 ? Turn::front : Turn::back;
    }

  private:
    static constexpr unsigned kMostTurns = kCertain + 40;
    static constexpr std::size_t kBytesAsDear = std::size_t{64} << 10;  // to touch anew, as a place of one page

    static constexpr unsigned most_held(unsigned before) { return kMostHeld >> before / 2; }

    // Out of line, in site_turns.cpp: rare.
    bool pay(std::size_t bytes);

    std::atomic<std::uint8_t> had_[1u << 16] = {};
    std::atomic<std::int64_t> spent_{0};
    std::atomic<std::uint64_t> paid_back_ms_{0};
};

}  // namespace hakmem
