// What the 16 bytes of a watched block's note (core/watch.h) mean here: the only code that packs and unpacks them. All
// zero: nothing is known.
#pragma once

#include <cstdint>

#include "core/watch.h"

namespace hakmem {

// Number of a stack in the stack table; 0: unknown.
using StackId = std::uint32_t;

class Note {
  public:
    enum class State : std::uint32_t {
        none,
        live,  // the program has it, and its header says watched
        kept,  // freed, and out of reuse for now
    };

    explicit Note(BlockNote *note) : words_(note->words) {}

    State state() const { return State{words_[0] >> kStateShift & 3}; }
    Family family() const { return Family(words_[0] >> kFamilyShift & 3); }
    StackId alloc_stack() const { return words_[0] & kStackMask; }
    StackId free_stack() const { return words_[1] & kStackMask; }
    bool sampled() const { return (words_[1] & kSampled) != 0; }
    bool filled() const { return (words_[1] & kFilled) != 0; }
    // It has been reported that the block's slack or poison was changed.
    bool told() const { return (words_[1] & kTold) != 0; }
    void set_told() { words_[1].fetch_or(kTold); }
    void clear_told() { words_[1] = words_[1] & ~kTold; }
    bool poisoned() const { return (words_[1] & kPoisoned) != 0; }
    // Live, and there is nothing to it but that its slack is filled and that it was asked for by that family.
    bool only_filled(Family family) const {
        return words_[0] >> kStateShift == (static_cast<std::uint32_t>(State::live) |
                                            static_cast<std::uint32_t>(family) << (kFamilyShift - kStateShift)) &&
               (words_[1] & (kSampled | kFilled | kTold | kHunted | kHeader16)) == kFilled;
    }
    // Kept, and there is nothing to it but that it is poisoned from its start on.
    bool only_poisoned() const {
        return state() == State::kept &&
               (words_[1] & (kPoisoned | kTold | 0x3FFu << kOffsetShift | kHunted | kHeader16)) == kPoisoned;
    }
    // Of a sampled block: allocations that it stands for (sampling::kWeightBits).
    std::uint32_t weight() const { return words_[2]; }
    // Bytes from the block's start to the user's memory: more than 0 only for aligned blocks.
    std::uint32_t user_offset() const { return (words_[1] >> kOffsetShift & 0x3FF) * 16; }
    // Bytes of the block's room behind what the program may use.
    std::uint32_t slack() const { return words_[3] & kSlackMask; }
    // Bytes in front of these that it did not ask for and may use all the same: only where the block is hunted.
    std::uint32_t spare() const { return words_[3] >> kSlackBits; }
    // The slack is there for a hunt, not for `guard`.
    bool hunted() const { return (words_[1] & kHunted) != 0; }

    // Between guard pages: without these it would have a 16-byte header.
    bool header16() const { return (words_[1] & kHeader16) != 0; }

    // The number of the place that the hunt has given the block (hunt.h); 0: none.
    unsigned place() const { return words_[0] >> kPlaceShift; }
    void set_place(unsigned number) { words_[0] = (words_[0] & ((1u << kPlaceShift) - 1)) | number << kPlaceShift; }

    // What is behind a block: `slack` is filled, unless that is 0.
    struct Behind {
        std::uint32_t slack = 0;
        std::uint32_t spare = 0;
        bool filled = false;
        bool hunted = false;
        bool header16 = false;
    };

    void begin(StackId alloc_stack, Family family, std::uint32_t weight, const Behind &behind) {
        words_[1] = (weight != 0 ? kSampled : 0) | (behind.filled ? kFilled : 0) | (behind.hunted ? kHunted : 0) |
                    (behind.header16 ? kHeader16 : 0);
        words_[2] = weight;
        words_[3] = behind.slack | behind.spare << kSlackBits;
        words_[0] = alloc_stack | static_cast<std::uint32_t>(family) << kFamilyShift |
                    static_cast<std::uint32_t>(State::live) << kStateShift;
    }
    void set_alloc_stack(StackId id) { words_[0] = (words_[0] & ~kStackMask) | id; }
    void set_slack(std::uint32_t slack) { words_[3] = slack; }
    void set_user_offset(std::uintptr_t offset) {
        words_[1] = (words_[1] & ~(0x3FFu << kOffsetShift)) | static_cast<std::uint32_t>(offset / 16) << kOffsetShift;
    }
    void set_state(State state) {
        words_[0] = (words_[0] & ~(3u << kStateShift)) | static_cast<std::uint32_t>(state) << kStateShift;
    }
    void keep(StackId free_stack, bool poisoned) {
        words_[1] = (words_[1] & ~(kStackMask | kPoisoned | kTold)) | free_stack | (poisoned ? kPoisoned : 0);
        set_state(State::kept);
    }

    static constexpr StackId kMostStacks = 1u << 16;

  private:
    static constexpr unsigned kStateShift = 16, kFamilyShift = 18, kOffsetShift = 20, kPlaceShift = 24;
    static constexpr std::uint32_t kStackMask = kMostStacks - 1;
    static constexpr unsigned kSlackBits = 20;
    static constexpr std::uint32_t kSlackMask = (1u << kSlackBits) - 1;
    static constexpr std::uint32_t kHunted = 1u << 30, kHeader16 = 1u << 31;
    static constexpr std::uint32_t kSampled = 1u << 16, kFilled = 1u << 17, kPoisoned = 1u << 18, kTold = 1u << 19;

    Relaxed<std::uint32_t> *words_;
};

}  // namespace hakmem
