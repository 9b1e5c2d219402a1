// Watched blocks: those that a diagnostic policy knows more about than their header says. The allocator only carries
// the mechanism: it asks the policy at chosen allocations, marks the block (header byte 0xC0 | class, or the span of a
// large one), keeps a note of 16 bytes for it out of line, and hands the block back to the policy when it is freed.
// What the note says and what is done about it is the policy's business; production watches nothing.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/relaxed.h"

namespace hakmem {

// By what family of functions a block was asked for or given back.
enum class Family : std::uint8_t { malloc, new_object, new_array };

inline constexpr std::size_t kAnyBytes = SIZE_MAX;

// How the program gives a block back: by which function, and with what size (sized delete), if with any.
struct Giving {
    Family family = Family::malloc;
    std::size_t bytes = kAnyBytes;
};

// What the policy wants for the allocation at hand.
struct WatchPlan {
    bool watch = false;
    bool guard_pages = false;   // put it between pages that can't be touched
    bool guard_at_end = false;  // and there against the end of its own
    std::uint32_t slack = 0;    // bytes past the asked size that the program shall not get
    // A free slot that the policy has kept, fit for the asked size and the slack, to be handed out again. 0: none.
    std::uintptr_t kept = 0;
};

// The policy's own number for the block at hand says, with this bit, that it is not as nearly all are.
inline constexpr std::uint32_t kUnusual = 1u << 31;
constexpr bool is_unusual(std::uint32_t number) { return (number & kUnusual) != 0; }
// And where it has nothing to hand on.
inline constexpr std::uint32_t kNoNumber = UINT32_MAX;

// A block's note. Zero when its slot is first cut.
struct BlockNote {
    Relaxed<std::uint32_t> words[4];  // audits look at the notes of blocks that are being handed out and freed

    void clear() {
        for (auto &word : words) word = 0;
    }
    bool is_clear() const { return (words[0] | words[1] | words[2] | words[3]) == 0; }
};

// A watched block as the policy sees it.
struct Watched {
    std::uintptr_t user;   // what the program holds
    std::uintptr_t block;  // start of the memory that the block may use; before `user` only for aligned blocks
    std::size_t room;      // bytes from `block` to the end of that memory
    BlockNote *note;
    bool large;
    bool guard_pages;
    // Bytes before `user` that are its own page's and nobody's: with guard pages. No more than are worth a look.
    std::size_t front = 0;
    static constexpr std::size_t kMostFront = 512;
    bool header16 = false;  // while it is made: of a kind that has 16 bytes of header where there are no guard pages

    std::uintptr_t end() const { return block + room; }
};

}  // namespace hakmem
