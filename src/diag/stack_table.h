// The distinct stacks of watched blocks, in the segment, each with its share of the heap profile. Lock-free; a stack's
// number is its record's index and never changes. Once most of the table is used, of a new stack only the innermost
// frames count, and fewer of them later, so that a program that recurses has room left for who calls: at the end for
// whoever calls the allocator, who are few. Full: new stacks get number 0, which stands for "unknown".
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <iterator>

#include "diag/modules.h"
#include "diag/note.h"
#include "diag/segment_writer.h"
#include "segment/layout.h"

namespace hakmem {

// What an address counts in a stack's key by how far inside it is.
inline constexpr std::uint64_t kKeyFactor = 0x9E3779B97F4A7C15;
inline constexpr auto kKeyPowers = [] {
    std::array<std::uint64_t, segment::kMaxFrames + 1> powers{1};
    for (std::size_t i = 1; i != powers.size(); ++i) powers[i] = powers[i - 1] * kKeyFactor;
    return powers;
}();

class StackTable {
  public:
    // What a stack is found by.
    class Key {
      public:
        // A sum of addresses, from the outermost on: with one more further in.
        static constexpr std::uint64_t further(std::uint64_t sum, std::uintptr_t pc) { return (sum + pc) * kKeyFactor; }
        // Of the stack of so many addresses that come between two sums.
        static Key between(std::uint64_t inner, std::uint64_t outer, unsigned frames) {
            Key key;
            key.word_ = (inner - outer * kKeyPowers[frames]) ^ frames;
            key.word_ *= 0xBF58476D1CE4E5B9;
            key.word_ ^= key.word_ >> 32;
            return key;
        }
        // Innermost first.
        static Key of(const std::uintptr_t *pc, unsigned frames) {
            std::uint64_t sum = 0;
            for (unsigned i = frames; i-- > 0;) sum = further(sum, pc[i]);
            return between(sum, 0, frames);
        }

      private:
        friend class StackTable;
        std::uint64_t word_ = 0;
    };

    // Starts empty on the segment's records. Not thread-safe: at start, and in a fork's child.
    void start(const Segment &segment);

    // In a fork's child, whose blocks' notes name the parent's stacks: goes on with this segment, into which a copy of
    // the parent's records was put. What was freed so far is history; what is live is the child's.
    void carry_over(const Segment &segment);

    std::uint32_t used() const { return used_.load(std::memory_order_acquire); }

    // The number of the stack of these return addresses, innermost first. May take the loader's lock.
    StackId intern(const std::uintptr_t *pc, unsigned frames, ModuleMap &modules);
    // Fast path. The number of a stack with that key; 0 if there is none.
    StackId find(const Key &key) const {
        for (std::uint32_t probe = 0; probe < kSlots; ++probe) {
            const std::uint64_t value = slots_[(key.word_ + probe) % kSlots].load(std::memory_order_acquire);
            if (value == 0) return 0;
            if ((value ^ key.word_) <= kIdMask) return static_cast<StackId>(value & kIdMask);
        }
        return 0;
    }
    // The number that intern would give without a new one; 0 if it takes one. Of a stack of so many frames, of whose
    // innermost key_of(how many) is the key.
    template <class KeyOf>
    StackId find_by(KeyOf key_of, unsigned frames) const {
        StackId id = find(key_of(frames));
        for (unsigned i = 1; id == 0 && i < std::size(kStages) && used() >= kStages[i - 1].most; ++i)
            if (frames > kStages[i].frames) id = find(key_of(kStages[i].frames));
        return id;
    }
    StackId find(const std::uintptr_t *pc, unsigned frames) const {
        return find_by([&](unsigned most) { return Key::of(pc, most); }, frames);
    }
    // No new one gets a number.
    bool is_full() const { return used() >= kStacks || out_of_space_.load(std::memory_order_relaxed); }

    // New stacks get numbers up to `most` for so many of their frames, then for those of the next stage.
    struct Stage {
        std::uint32_t most;
        unsigned frames;
    };
    static constexpr Stage kStages[] = {{kStacks / 32 * 24, segment::kMaxFrames},
                                        {kStacks / 32 * 26, 8},
                                        {kStacks / 32 * 28, 4},
                                        {kStacks / 32 * 29, 2},
                                        {kStacks, 1}};

    // A sampled block of this stack that stands for `weight` others (sampling.h) of `bytes` each comes or goes.
    void count_allocated(StackId id, std::uint32_t weight, std::uint64_t bytes);
    void count_freed(StackId id, std::uint32_t weight, std::uint64_t bytes);

    // The stack for a report; no frames if unknown.
    void copy(StackId id, segment::Stack &out) const;

    // The allocation site: equal for stacks whose innermost frames are the same, whoever called those; 0 if unknown.
    std::uint64_t site(StackId id) const;
    static std::uint64_t site_of(const std::uint64_t *pc, std::uint32_t frames) {
        return hash_of_innermost(kSiteFrames, pc, frames);
    }

    // The same of more frames, so that what a deep template makes for two callers is two sites; a short hash. Cheap.
    std::uint16_t near_site(StackId id) const { return near_sites_[id].load(std::memory_order_relaxed); }

    // Equal for equal stacks, also over ASLR; 0 if unknown.
    std::uint64_t key(StackId id) const;

  private:
    static constexpr std::uint32_t kSlots = 2 * kStacks;
    static constexpr std::uint32_t kSiteFrames = 3;  // a wrapper of malloc or two, and who calls it
    static constexpr std::uint32_t kNearSiteFrames = 8;

    // Of a slot: a stack's key above its number. 0: free.
    static constexpr std::uint64_t kIdMask = (std::uint64_t{1} << 16) - 1;

    // 0 if it is new and there are `most` already.
    StackId find_or_add(const std::uintptr_t *pc, unsigned frames, std::uint32_t most, ModuleMap &modules);
    segment::StackRecord *record(StackId id) const;
    static std::uint64_t hash_of_innermost(std::uint32_t most, const std::uint64_t *pc, std::uint32_t frames);

    Segment segment_;
    std::atomic<std::uint64_t> slots_[kSlots] = {};
    std::atomic<std::uint16_t> near_sites_[kStacks] = {};
    std::atomic<std::uint32_t> used_{0};
    // The disk is full: asking again for every sample would only cost time and numbers.
    std::atomic<bool> out_of_space_{false};
};

}  // namespace hakmem
