// Who counts where: gives each thread a record of the segment's counter shards and takes it back when the thread ends.
// Lock-free, so usable in any thread at any point. Counts are never moved (segment/layout.h says why); only a thread
// that found no record counts in memory of its own, which is added to record 0 when it ends.
#pragma once

#include <cstddef>
#include <cstdint>

#include "segment/layout.h"

namespace hakmem {

class ShardPool {
  public:
    // Makes sure that memory can be written, so that a full disk is an answer here and not a SIGBUS later.
    using Prepare = bool (*)(void *memory, std::size_t bytes);

    // Starts on fresh records. Not thread-safe: at start, and in a fork's child.
    void start(segment::Header &header, segment::CounterShard *shards, std::uint32_t count, Prepare prepare);

    // Never null.
    segment::CounterShard *claim(std::uint32_t tid);
    void release(segment::CounterShard *shard);

    // The record's index, or 0 for one that isn't the segment's.
    std::uint32_t index_of(const segment::CounterShard *shard) const;

  private:
    segment::CounterShard *take_record(std::uint32_t index, std::uint32_t tid);
    segment::CounterShard *scan(std::uint32_t tid);
    segment::CounterShard *extend(std::uint32_t tid);

    segment::Header *header_ = nullptr;
    segment::CounterShard *shards_ = nullptr;
    std::uint32_t count_ = 0;
    Prepare prepare_ = nullptr;
    std::uint32_t taken_ = 0;          // records in use now
    std::uint32_t last_released_ = 0;  // a hint
};

}  // namespace hakmem
