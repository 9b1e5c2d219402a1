#include "diag/shards.h"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace hakmem {
namespace {

using segment::CounterShard;

// Where counts go when there is no memory at all: seen by nobody, but the program runs on.
constinit CounterShard lost_counts{};

constexpr std::size_t kPrivateBytes = 4096;
static_assert(sizeof(CounterShard) <= kPrivateBytes);

constexpr std::size_t kSummedWords = offsetof(CounterShard, last_incident_ns) / sizeof(std::uint64_t);

std::atomic_ref<std::uint32_t> atomic(std::uint32_t &value) { return std::atomic_ref<std::uint32_t>(value); }

CounterShard *claim_private() {
    const int saved_errno = errno;
    void *memory = mmap(nullptr, kPrivateBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    errno = saved_errno;
    return memory != MAP_FAILED ? static_cast<CounterShard *>(memory) : &lost_counts;
}

void add_to(CounterShard &total, const CounterShard &part) {
    // The counters are words one after the other, then the times.
    auto *to = reinterpret_cast<std::uint64_t *>(&total);
    const auto *from = reinterpret_cast<const std::uint64_t *>(&part);
    for (std::size_t i = 0; i < kSummedWords; ++i) {
        if (from[i] != 0) std::atomic_ref<std::uint64_t>(to[i]).fetch_add(from[i], std::memory_order_relaxed);
    }
    for (unsigned kind = 0; kind < segment::kKinds; ++kind) {
        std::atomic_ref<std::uint64_t> last(total.last_incident_ns[kind]);
        std::uint64_t seen = last.load(std::memory_order_relaxed);
        while (seen < part.last_incident_ns[kind] && !last.compare_exchange_weak(seen, part.last_incident_ns[kind])) {
        }
    }
}

}  // namespace

void ShardPool::start(segment::Header &header, CounterShard *shards, std::uint32_t count, Prepare prepare) {
    header_ = &header;
    shards_ = shards;
    count_ = count;
    prepare_ = prepare;
    taken_ = 0;
    last_released_ = 0;
    header.shards_used = 1;
}

CounterShard *ShardPool::take_record(std::uint32_t index, std::uint32_t tid) {
    std::uint32_t nobody = 0;
    CounterShard &shard = shards_[index];
    if (atomic(shard.tid).load(std::memory_order_relaxed) != 0) return nullptr;
    if (!atomic(shard.tid).compare_exchange_strong(nobody, tid, std::memory_order_acquire)) return nullptr;
    atomic(taken_).fetch_add(1, std::memory_order_relaxed);
    return &shard;
}

CounterShard *ShardPool::claim(std::uint32_t tid) {
    if (header_ == nullptr) return &lost_counts;
    const std::uint32_t used = atomic(header_->shards_used).load(std::memory_order_acquire);
    if (atomic(taken_).load(std::memory_order_relaxed) + 1 < used) {
        if (CounterShard *shard = scan(tid)) return shard;
    }
    if (CounterShard *shard = extend(tid)) return shard;
    if (CounterShard *shard = scan(tid)) return shard;
    return claim_private();
}

CounterShard *ShardPool::scan(std::uint32_t tid) {
    // The header is in a file that others can write to: never past the array.
    std::uint32_t used = atomic(header_->shards_used).load(std::memory_order_acquire);
    if (used > count_) used = count_;
    const std::uint32_t hint = atomic(last_released_).exchange(0, std::memory_order_relaxed);
    if (hint != 0) {
        if (CounterShard *shard = take_record(hint, tid)) return shard;
    }
    for (std::uint32_t i = 1; i < used; ++i) {
        if (CounterShard *shard = take_record(i, tid)) return shard;
    }
    return nullptr;
}

CounterShard *ShardPool::extend(std::uint32_t tid) {
    for (;;) {
        std::uint32_t used = atomic(header_->shards_used).load(std::memory_order_acquire);
        if (used == 0 || used >= count_ || !prepare_(&shards_[used], sizeof(CounterShard))) return nullptr;
        if (!atomic(header_->shards_used).compare_exchange_strong(used, used + 1)) continue;
        // Another thread's scan may have been quicker.
        if (CounterShard *shard = take_record(used, tid)) return shard;
    }
}

void ShardPool::release(CounterShard *shard) {
    if (shard == nullptr || shard == &lost_counts) return;
    const std::uint32_t index = index_of(shard);
    if (index == 0) {
        add_to(shards_[0], *shard);
        munmap(shard, kPrivateBytes);
        return;
    }
    atomic(shard->tid).store(0, std::memory_order_release);
    atomic(taken_).fetch_sub(1, std::memory_order_relaxed);
    atomic(last_released_).store(index, std::memory_order_relaxed);
}

std::uint32_t ShardPool::index_of(const CounterShard *shard) const {
    if (shard < shards_ || shard >= shards_ + count_) return 0;
    return static_cast<std::uint32_t>(shard - shards_);
}

}  // namespace hakmem
