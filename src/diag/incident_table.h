// The segment's incident records: one a distinct incident, found again by its key. Lock-free, so that a bad free in any
// thread, also in a signal handler, gets through; and in an order that leaves nothing half-done to a reader after
// kill -9: a record is written under its seqlock, counted after that by atomic additions.
#pragma once

#include <atomic>
#include <cstdint>

#include "diag/segment_writer.h"
#include "segment/layout.h"

namespace hakmem {

class IncidentTable {
  public:
    enum class Noted { first, again, dropped };

    struct Result {
        Noted noted;
        segment::IncidentRecord *record;  // null where dropped
    };

    // Starts empty on the segment's records. Not thread-safe: at start, and in a fork's child.
    void start(const Segment &segment);

    // Counts the incident `key`. The first time `fill` writes what is known into the zeroed record (all but sequence,
    // key, count and times).
    template <class Fill>
    Result note(std::uint64_t key, std::uint64_t now_ns, Fill fill) {
        const Place place = find_place(key);
        if (place.index == kNowhere) return {Noted::dropped, nullptr};
        segment::IncidentRecord &record = segment_.incident(place.index);
        if (!place.is_new) {
            count(record, now_ns);
            wait_until_written(place.index);
            return {Noted::again, &record};
        }
        begin_writing(record);
        fill(record);
        finish_writing(place.index, record, key, now_ns);
        return {Noted::first, &record};
    }

  private:
    static constexpr std::uint32_t kNowhere = kIncidents;
    static constexpr std::uint32_t kSlots = 4 * kIncidents;

    struct Place {
        std::uint32_t index;
        bool is_new;
    };

    Place find_place(std::uint64_t key);
    std::uint32_t reserve();
    void give_back(std::uint32_t index);
    void wait_until_written(std::uint32_t index) const;
    static void count(segment::IncidentRecord &record, std::uint64_t now_ns);
    static void begin_writing(segment::IncidentRecord &record);
    void finish_writing(std::uint32_t index, segment::IncidentRecord &record, std::uint64_t key, std::uint64_t now_ns);

    Segment segment_;
    // Key (its upper bits) and record index in one word, so that whoever finds the key has the record at once.
    std::atomic<std::uint64_t> slots_[kSlots] = {};
    std::atomic<bool> written_[kIncidents] = {};
    std::atomic<std::uint32_t> used_{0};
};

}  // namespace hakmem
