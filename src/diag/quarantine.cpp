#include "diag/quarantine.h"

#include "diag/undisturbed.h"
#include "os/pages.h"

namespace hakmem {

constinit std::atomic<std::int64_t> Quarantine::total_{0};

void Quarantine::tell() {
    total_.fetch_add(own_bytes_ - told_, std::memory_order_relaxed);
    told_ = own_bytes_;
}

bool Quarantine::grow() {
    const std::uint32_t room = room_ == 0 ? kFirstRoom : 2 * room_;
    if (room > kMostRoom) return false;
    const Undisturbed undisturbed;
    auto *larger = static_cast<Entry *>(os::map(room * sizeof(Entry)));
    if (larger == nullptr) return false;
    for (std::uint32_t i = tail_; i != head_; ++i) larger[i & (room - 1)] = at(i);
    if (entries_ != nullptr) os::unmap(entries_, room_ * sizeof(Entry));
    entries_ = larger;
    room_ = room;
    return true;
}

void Quarantine::release_memory() {
    tell();
    if (entries_ != nullptr) os::unmap(entries_, room_ * sizeof(Entry));
    entries_ = nullptr;
    room_ = head_ = tail_ = fetched_ = 0;
    own_room_ = 0;
}

}  // namespace hakmem
