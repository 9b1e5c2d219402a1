#include "diag/quarantine.h"

#include "os/pages.h"

namespace hakmem {

constinit std::atomic<std::uint64_t> Quarantine::total_{0};

bool Quarantine::grow() {
    const std::uint32_t room = room_ == 0 ? kFirstRoom : 2 * room_;
    if (room > kMostRoom) return false;
    auto *larger = static_cast<Entry *>(os::map(room * sizeof(Entry)));
    if (larger == nullptr) return false;
    for (std::uint32_t i = tail_; i != head_; ++i) larger[i & (room - 1)] = at(i);
    if (entries_ != nullptr) os::unmap(entries_, room_ * sizeof(Entry));
    entries_ = larger;
    room_ = room;
    return true;
}

bool Quarantine::push(std::uintptr_t block, std::size_t bytes) {
    if (head_ - tail_ == room_ && !grow()) return false;
    at(head_++) = {block, bytes};
    own_bytes_ += bytes;
    total_.fetch_add(bytes, std::memory_order_relaxed);
    return true;
}

std::uintptr_t Quarantine::pop() {
    if (empty()) return 0;
    const Entry entry = at(tail_++);
    own_bytes_ -= entry.bytes;
    total_.fetch_sub(entry.bytes, std::memory_order_relaxed);
    return entry.block;
}

void Quarantine::release_memory() {
    if (entries_ != nullptr) os::unmap(entries_, room_ * sizeof(Entry));
    entries_ = nullptr;
    room_ = head_ = tail_ = 0;
}

}  // namespace hakmem
