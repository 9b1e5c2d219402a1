#include "diag/site_turns.h"

#include <algorithm>

#include "os/pages.h"

namespace hakmem {

bool SiteTurns::pay(std::size_t bytes) {
    const std::int64_t price = std::min(1 + static_cast<std::int64_t>(bytes / kBytesAsDear), kMostSaved / 4);
    std::int64_t spent = spent_.load(std::memory_order_relaxed);
    if (spent == 0) paid_back_ms_.store(os::coarse_milliseconds(), std::memory_order_relaxed);
    if (spent + price > kMostSaved) {
        const std::uint64_t now = os::coarse_milliseconds();
        std::uint64_t then = paid_back_ms_.load(std::memory_order_relaxed);
        if (now <= then || !paid_back_ms_.compare_exchange_strong(then, now)) return false;
        const auto back = std::min(static_cast<std::int64_t>(now - then) * kEachMs, spent);
        spent = spent_.fetch_sub(back, std::memory_order_relaxed) - back;
        if (spent + price > kMostSaved) return false;
    }
    spent_.fetch_add(price, std::memory_order_relaxed);
    return true;
}

}  // namespace hakmem
