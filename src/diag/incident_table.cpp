#include "diag/incident_table.h"

#include <sched.h>

namespace hakmem {
namespace {

// The lower bits of a slot are the record's index plus one.
constexpr std::uint64_t kIndexMask = 0xFFF;
static_assert(kIncidents < kIndexMask);

std::uint64_t tag_of(std::uint64_t key) {
    const std::uint64_t tag = key & ~kIndexMask;
    return tag != 0 ? tag : kIndexMask + 1;
}

}  // namespace

void IncidentTable::start(const Segment &segment) {
    segment_ = segment;
    if (used_.load(std::memory_order_relaxed) == 0) return;  // a fork's child needn't copy the pages of clean tables
    for (auto &slot : slots_) slot.store(0, std::memory_order_relaxed);
    for (auto &written : written_) written.store(false, std::memory_order_relaxed);
    used_ = 0;
}

std::uint32_t IncidentTable::reserve() {
    std::uint32_t index = used_.load(std::memory_order_relaxed);
    do {
        if (index >= kIncidents) return kNowhere;
    } while (!used_.compare_exchange_weak(index, index + 1));
    std::atomic_ref<std::uint32_t> shown(segment_.header().incidents_used);
    std::uint32_t seen = shown.load(std::memory_order_relaxed);
    while (seen < index + 1 && !shown.compare_exchange_weak(seen, index + 1)) {
    }
    return index;
}

// Where somebody reserved behind us in the meantime, an empty record stays, which a reader passes over.
void IncidentTable::give_back(std::uint32_t index) {
    std::uint32_t expected = index + 1;
    used_.compare_exchange_strong(expected, index);
}

IncidentTable::Place IncidentTable::find_place(std::uint64_t key) {
    if (!segment_) return {kNowhere, false};
    const std::uint64_t tag = tag_of(key);
    std::uint32_t reserved = kNowhere;
    for (std::uint32_t probe = 0; probe < kSlots; ++probe) {
        std::atomic<std::uint64_t> &slot = slots_[(key / (kIndexMask + 1) + probe) % kSlots];
        std::uint64_t value = slot.load(std::memory_order_acquire);
        if (value == 0) {
            if (reserved == kNowhere) {
                reserved = reserve();
                if (reserved == kNowhere) return {kNowhere, false};
                // Others will count in the record as soon as they find it.
                if (!prepare_memory(&segment_.incident(reserved), kIncidentBytes)) {
                    give_back(reserved);
                    return {kNowhere, false};
                }
            }
            if (slot.compare_exchange_strong(value, tag | (reserved + 1))) return {reserved, true};
        }
        if ((value & ~kIndexMask) == tag) {
            if (reserved != kNowhere) give_back(reserved);
            return {static_cast<std::uint32_t>(value & kIndexMask) - 1, false};
        }
    }
    if (reserved != kNowhere) give_back(reserved);
    return {kNowhere, false};
}

// Whoever saw the incident first may still be writing. Who counts on it waits a moment, so that what was counted is
// also told after a kill -9, but never for ever: the writer may be this very thread, below a signal handler.
void IncidentTable::wait_until_written(std::uint32_t index) const {
    constexpr unsigned kYields = 1000;
    for (unsigned i = 0; i < kYields && !written_[index].load(std::memory_order_acquire); ++i) sched_yield();
}

void IncidentTable::count(segment::IncidentRecord &record, std::uint64_t now_ns) {
    std::atomic_ref last(record.last_ns);
    std::uint64_t seen = last.load(std::memory_order_relaxed);
    while (seen < now_ns && !last.compare_exchange_weak(seen, now_ns, std::memory_order_relaxed)) {
    }
    std::atomic_ref(record.count).fetch_add(1, std::memory_order_relaxed);
}

void IncidentTable::begin_writing(segment::IncidentRecord &record) {
    std::atomic_ref(record.sequence).store(1, std::memory_order_relaxed);
    std::atomic_thread_fence(std::memory_order_release);
}

void IncidentTable::finish_writing(std::uint32_t index, segment::IncidentRecord &record, std::uint64_t key,
                                   std::uint64_t now_ns) {
    record.key = key;
    record.first_ns = now_ns;
    count(record, now_ns);
    std::atomic_ref(record.sequence).store(2, std::memory_order_release);
    written_[index].store(true, std::memory_order_release);
}

}  // namespace hakmem
