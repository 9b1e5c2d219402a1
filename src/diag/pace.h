// Keeps work that is done on the way of a program's calls below a share of the program's own time. Whoever does such
// work tells what each piece took, in ticks of any clock; the answer is whether the next piece may be done yet, and how
// many occasions to let pass until it is worth asking again. Pure; one a thread, all-zero is a valid start.
#pragma once

#include <algorithm>
#include <cstdint>

#include "diag/sampling.h"

namespace hakmem {

class Pace {
  public:
    static constexpr std::uint32_t kMostSkipped = 4096;

    // Starts anew: one part in `share` of the time, and so much in hand that a while passes before anything is skipped.
    void start(std::uint64_t now, std::int64_t share, std::int64_t in_hand) {
        last_ = now;
        share_ = share;
        credit_ = in_hand;
        skip_ = 1;
    }

    // What the thread did itself of some time by the clock: where that is long, others had their turn.
    static std::uint64_t own(std::uint64_t ticks) { return std::min(ticks, kLongestOwn); }

    // An occasion comes by. True if work that takes about `cost` may be done. Time in which the program idles does not
    // count.
    bool may(std::uint64_t now, std::int64_t cost = 0) {
        const std::uint64_t gap = now > last_ ? now - last_ : 0;
        last_ = now;
        if (share_ == 0) return false;
        if (credit_ < std::max(kMostSaved, cost)) credit_ += static_cast<std::int64_t>(own(gap)) / share_;
        const bool yes = credit_ >= cost;
        if (cost == 0) skip_ = yes ? skip_ / 2 : std::min(2 * std::max(1u, skip_), kMostSkipped);
        return yes;
    }

    // A piece of work took so long.
    void spent(std::uint64_t ticks) { credit_ -= static_cast<std::int64_t>(own(ticks)); }

    // Occasions up to and with the next that is worth asking at. Random, so that it does not fall into step with what
    // the program does.
    std::uint32_t next(sampling::Random &random) const {
        return skip_ <= 1 ? 1 : 1 + static_cast<std::uint32_t>(random.next() >> 33) % (2 * skip_ - 1);
    }

  private:
    static constexpr std::uint64_t kLongestOwn = 1'000'000;
    static constexpr std::int64_t kMostSaved = 500'000;

    std::uint64_t last_ = 0;
    std::int64_t credit_ = 0;
    std::int64_t share_ = 0;  // 0: nothing may be done
    std::uint32_t skip_ = 0;  // as many occasions pass on average; 0 is like 1
};

}  // namespace hakmem
