#include "core/note_table.h"

#include "os/pages.h"

namespace hakmem {

NoteTable::Group &NoteTable::group_of(Group *groups, std::uintptr_t block, unsigned level) {
    const std::uint64_t hash = block * 0x9E3779B97F4A7C15 >> 32;
    return groups[groups_before(level) + (hash * groups_in(level) >> 32)];
}

BlockNote *NoteTable::find(std::uintptr_t block) const {
    // In this order: where there is a level, there is a table.
    const unsigned levels = levels_.load(std::memory_order_acquire);
    Group *groups = groups_.load(std::memory_order_acquire);
    for (unsigned level = 0; level < levels; ++level) {
        Group &group = group_of(groups, block, level);
        for (unsigned i = 0; i < kNotes; ++i) {
            if (group.blocks[i].load(std::memory_order_acquire) == block) return &group.notes[i];
        }
    }
    return nullptr;
}

NoteTable::Group *NoteTable::groups() {
    Group *groups = groups_.load(std::memory_order_acquire);
    if (groups != nullptr) return groups;
    auto *fresh = static_cast<Group *>(os::map(kGroups * sizeof(Group)));
    if (fresh == nullptr) return nullptr;
    if (groups_.compare_exchange_strong(groups, fresh)) return fresh;
    os::unmap(fresh, kGroups * sizeof(Group));
    return groups;
}

BlockNote *NoteTable::make(std::uintptr_t block) {
    Group *groups = this->groups();
    if (groups == nullptr) return nullptr;
    for (unsigned level = 0; level < kLevels; ++level) {
        unsigned levels = levels_.load(std::memory_order_relaxed);
        while (levels <= level && !levels_.compare_exchange_weak(levels, level + 1)) {
        }
        Group &group = group_of(groups, block, level);
        for (unsigned i = 0; i < kNotes; ++i) {
            std::uintptr_t free = 0;
            if (group.blocks[i].load(std::memory_order_relaxed) == 0 &&
                group.blocks[i].compare_exchange_strong(free, block))
                return &group.notes[i];
        }
    }
    return nullptr;
}

NoteTable::Place NoteTable::place_of(const BlockNote *note) const {
    Group *groups = groups_.load(std::memory_order_acquire);
    const std::size_t offset = address_of(note) - address_of(groups);
    Group &group = groups[offset / sizeof(Group)];
    return {&group, static_cast<unsigned>(note - group.notes)};
}

std::uintptr_t NoteTable::block_of(const BlockNote *note) const {
    const Place place = place_of(note);
    return place.group->blocks[place.index].fetch_add(0, std::memory_order_acq_rel);
}

void NoteTable::drop(BlockNote *note) {
    const Place place = place_of(note);
    note->clear();
    place.group->blocks[place.index].store(0, std::memory_order_release);
}

}  // namespace hakmem
