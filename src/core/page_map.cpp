#include "core/page_map.h"

namespace hakmem {

constinit PageMap page_map;

bool PageMap::reserve(std::uintptr_t start, std::size_t units) {
    if ((start + units * kUnitBytes - 1) >> kAddressBits != 0) return false;
    for (std::size_t i = 0; i < units; ++i) {
        std::atomic<Leaf *> &slot = root_[(start + i * kUnitBytes) >> kLeafShift];
        if (slot.load(std::memory_order_relaxed) != nullptr) continue;
        Leaf *leaf = static_cast<Leaf *>(os::map(sizeof(Leaf)));
        if (leaf == nullptr) return false;
        slot.store(leaf, std::memory_order_release);
    }
    return true;
}

void PageMap::set(std::uintptr_t start, std::size_t units, std::uintptr_t word) {
    for (std::size_t i = 0; i < units; ++i) {
        const std::uintptr_t address = start + i * kUnitBytes;
        Leaf *leaf = root_[address >> kLeafShift].load(std::memory_order_relaxed);
        leaf->entries[(address >> kUnitShift) % kLeafEntries].store(word, std::memory_order_release);
    }
}

}  // namespace hakmem
