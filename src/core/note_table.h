// Notes of single blocks, found by the block's address: for spans of which only few blocks are watched, where a note a
// slot would touch a page for nearly each of them. Lock-free. Small at first, and then of several levels, each four
// times the last: nothing ever moves, so a note can be held on to.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/bits.h"
#include "core/watch.h"

namespace hakmem {

class NoteTable {
  public:
    // The block's note; nullptr if it has none here.
    BlockNote *find(std::uintptr_t block) const;

    // A clear note for a block that has none, by whoever has the block; nullptr if there is no room or no memory.
    BlockNote *make(std::uintptr_t block);

    // Its block is watched no more.
    void drop(BlockNote *note);

    bool holds(const BlockNote *note) const {
        return address_of(note) - address_of(groups_.load(std::memory_order_relaxed)) < kGroups * sizeof(Group);
    }
    // Whose note it is now; what was read of it before was this block's if it still is, and was then.
    std::uintptr_t block_of(const BlockNote *note) const;

  private:
    static constexpr unsigned kNotes = 8;
    struct alignas(64) Group {
        std::atomic<std::uintptr_t> blocks[kNotes];  // 0: free
        BlockNote notes[kNotes];
    };
    static constexpr unsigned kLevels = 6;
    static constexpr std::size_t kFirstGroups = 16;
    static constexpr std::size_t groups_in(unsigned level) { return kFirstGroups << 2 * level; }
    static constexpr std::size_t groups_before(unsigned level) { return (groups_in(level) - kFirstGroups) / 3; }
    static constexpr std::size_t kGroups = ((kFirstGroups << 2 * kLevels) - kFirstGroups) / 3;

    struct Place {
        Group *group;
        unsigned index;
    };
    Place place_of(const BlockNote *note) const;
    static Group &group_of(Group *groups, std::uintptr_t block, unsigned level);
    Group *groups();

    std::atomic<Group *> groups_{nullptr};
    std::atomic<unsigned> levels_{0};  // that have ever been used
};

}  // namespace hakmem
