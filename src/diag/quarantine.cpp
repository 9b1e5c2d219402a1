#include "diag/quarantine.h"

#include "os/pages.h"

namespace hakmem {

constinit std::atomic<std::uint64_t> Quarantine::total_{0};

bool Quarantine::push(std::uintptr_t block, std::size_t bytes) {
    if (entries_ == nullptr) {
        entries_ = static_cast<Entry *>(os::map(kEntries * sizeof(Entry)));
        if (entries_ == nullptr) return false;
    }
    if (full()) return false;
    entries_[head_++ % kEntries] = {block, bytes};
    own_bytes_ += bytes;
    total_.fetch_add(bytes, std::memory_order_relaxed);
    return true;
}

std::uintptr_t Quarantine::pop() {
    if (empty()) return 0;
    const Entry entry = entries_[tail_++ % kEntries];
    own_bytes_ -= entry.bytes;
    total_.fetch_sub(entry.bytes, std::memory_order_relaxed);
    return entry.block;
}

void Quarantine::release_memory() {
    if (entries_ != nullptr) os::unmap(entries_, kEntries * sizeof(Entry));
    entries_ = nullptr;
    head_ = tail_ = 0;
}

}  // namespace hakmem
