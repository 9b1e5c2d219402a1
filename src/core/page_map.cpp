#include "core/page_map.h"

namespace hakmem {

constinit PageMap page_map;

namespace {

void raise(std::atomic<std::uintptr_t> &value, std::uintptr_t least) {
    std::uintptr_t found = value.load(std::memory_order_relaxed);
    while (found < least && !value.compare_exchange_weak(found, least, std::memory_order_release)) {
    }
}

}  // namespace

bool PageMap::reserve(std::uintptr_t start, std::size_t units) {
    if ((start + units * kUnitBytes - 1) >> kAddressBits != 0) return false;
    for (std::size_t i = 0; i < units; ++i) {
        std::atomic<Leaf *> &slot = root_[(start + i * kUnitBytes) >> kLeafShift];
        if (slot.load(std::memory_order_acquire) != nullptr) continue;
        Leaf *leaf = static_cast<Leaf *>(os::map(sizeof(Leaf)));
        if (leaf == nullptr) return false;
        // The page heap and the guarded pages may both be here, each under its own lock.
        Leaf *others = nullptr;
        if (!slot.compare_exchange_strong(others, leaf, std::memory_order_acq_rel)) os::unmap(leaf, sizeof(Leaf));
    }
    const std::uintptr_t first = start >> kUnitShift;
    raise(before_begin_, ~first);
    raise(end_, first + units);
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
