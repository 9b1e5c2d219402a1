// Takes incidents from the segments into the store: symbolizes the ones that are new, raises the counts of those known.
// Symbolizing may take long, so it has a thread of its own and holds no lock that a scrape needs. The same thread keeps
// the history, which has a point a second.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "collect/collector.h"
#include "collect/fingerprints.h"
#include "collect/history.h"
#include "store/store.h"
#include "symbolize/symbolizer.h"

namespace hakmem {

class Ingest {
  public:
    // `retention_days` 0: incidents are kept for ever. `expire_fleet` is told, too, before which time they go; it takes
    // some of them away and says whether it is to be called again soon.
    Ingest(Collector &collector, Store &store, unsigned retention_days,
           std::function<bool(std::uint64_t before_ns)> expire_fleet = {});
    ~Ingest();

    void start();
    // Ends the thread after a last round over everything.
    void finish();
    // Waits until what is in the segments now is in the store, at most that long.
    void catch_up(std::chrono::milliseconds at_most);

    const History &history() const { return history_; }
    const FingerprintCounts &fingerprints() const { return fingerprints_; }

  private:
    void loop();
    void round();
    void take(const Collector::Pending &pending);
    void expire();
    void keep_history();

    Collector &collector_;
    Store &store_;
    const unsigned retention_days_;
    const std::function<bool(std::uint64_t)> expire_fleet_;
    Symbolizer symbolizer_;
    struct Stored {
        std::uint64_t count = 0;
        std::string fingerprint;
        std::string kind;
    };
    std::map<std::string, std::map<std::uint32_t, Stored>> counts_;  // by segment and record
    FingerprintCounts fingerprints_;
    std::chrono::steady_clock::time_point next_expiry_{};
    History history_;
    std::chrono::steady_clock::time_point next_point_{};
    std::string logged_error_;

    std::mutex mutex_;
    std::condition_variable changed_;
    std::uint64_t wanted_ = 0;  // rounds asked for
    std::uint64_t done_ = 0;    // rounds answered
    bool stopping_ = false;
    std::thread thread_;
};

}  // namespace hakmem
