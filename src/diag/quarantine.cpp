#include "diag/quarantine.h"

#include "os/pages.h"

namespace hakmem {

constinit std::atomic<std::int64_t> Quarantine::total_{0};

bool Quarantine::make_list() {
    entries_ = static_cast<Entry *>(os::map(kEntries * sizeof(Entry)));
    return entries_ != nullptr;
}

void Quarantine::release_memory() {
    tell();
    if (entries_ != nullptr) os::unmap(entries_, kEntries * sizeof(Entry));
    entries_ = nullptr;
    head_ = tail_ = 0;
}

}  // namespace hakmem
