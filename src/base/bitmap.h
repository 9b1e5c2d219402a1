// A fixed-size bitmap with searches for runs of set bits: which pages of a region are free, which of them hold stale
// data. Not synchronized; its owner's lock is.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace hakmem {

template <unsigned Bits>
struct Bitmap {
    static_assert(Bits % 64 == 0);
    static constexpr unsigned kWords = Bits / 64;
    static constexpr unsigned kNone = Bits;

    std::uint64_t words[kWords];

    // Calls f(word index, mask) for each word that [begin, begin + count) touches.
    template <class F>
    static void for_range(unsigned begin, unsigned count, F f) {
        const unsigned end = begin + count;
        for (unsigned bit = begin; bit < end;) {
            const unsigned word = bit / 64;
            const unsigned stop = (word + 1) * 64 < end ? (word + 1) * 64 : end;
            const unsigned width = stop - bit;
            const std::uint64_t ones = width == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << width) - 1;
            f(word, ones << (bit % 64));
            bit = stop;
        }
    }

    void set(unsigned begin, unsigned count) {
        for_range(begin, count, [this](unsigned w, std::uint64_t m) { words[w] |= m; });
    }
    void clear(unsigned begin, unsigned count) {
        for_range(begin, count, [this](unsigned w, std::uint64_t m) { words[w] &= ~m; });
    }
    unsigned count_in(unsigned begin, unsigned count) const {
        unsigned n = 0;
        for_range(begin, count,
                  [&](unsigned w, std::uint64_t m) { n += static_cast<unsigned>(std::popcount(words[w] & m)); });
        return n;
    }
    bool test(unsigned bit) const { return words[bit / 64] >> (bit % 64) & 1; }

    // First set (clear) bit at or after `from`; kNone if none.
    unsigned next_set(unsigned from) const { return next(from, 0); }
    unsigned next_clear(unsigned from) const { return next(from, ~std::uint64_t{0}); }

    // Start of the first run of `count` set bits at or after `from`; kNone if none.
    unsigned find_run(unsigned count, unsigned from = 0) const {
        for (unsigned begin = next_set(from); begin + count <= Bits;) {
            const unsigned end = next_clear(begin);
            if (end - begin >= count) return begin;
            begin = next_set(end);
        }
        return kNone;
    }

    // Start of the shortest run of at least `count` set bits, of those the first; kNone if none.
    unsigned find_tightest_run(unsigned count) const {
        unsigned best = kNone, best_bits = Bits + 1;
        for (unsigned begin = next_set(0); begin + count <= Bits;) {
            const unsigned end = next_clear(begin);
            if (end - begin >= count && end - begin < best_bits) {
                best = begin;
                best_bits = end - begin;
                if (best_bits == count) break;
            }
            begin = next_set(end);
        }
        return best;
    }

    unsigned longest_run() const {
        unsigned best = 0;
        for (unsigned begin = next_set(0); begin < Bits;) {
            const unsigned end = next_clear(begin);
            if (end - begin > best) best = end - begin;
            begin = next_set(end);
        }
        return best;
    }

    // Set bits at the very end.
    unsigned trailing_run() const {
        unsigned n = 0;
        for (unsigned word = kWords; word-- > 0; n += 64)
            if (words[word] != ~std::uint64_t{0}) return n + static_cast<unsigned>(std::countl_one(words[word]));
        return n;
    }

  private:
    unsigned next(unsigned from, std::uint64_t flip) const {
        if (from >= Bits) return kNone;
        unsigned word = from / 64;
        std::uint64_t bits = (words[word] ^ flip) & (~std::uint64_t{0} << (from % 64));
        while (bits == 0) {
            if (++word == kWords) return kNone;
            bits = words[word] ^ flip;
        }
        return word * 64 + static_cast<unsigned>(std::countr_zero(bits));
    }
};

}  // namespace hakmem
