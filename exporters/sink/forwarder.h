// Brings what the store has to one sink: reads a batch behind the cursor, delivers it, moves the cursor. At least once:
// the cursor moves when the sink has said yes, so that a process killed at any point goes on from there.
//
// While a sink does not answer it is asked again, at growing intervals with jitter, for a fleet of exporters must not
// come back in step. What waits for it waits in the store's file, never in memory.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "sink/sink.h"
#include "store/store.h"

namespace hakmem {

// How long to wait before attempt N + 1 after N failures: anything from nothing to a bound that doubles each time.
class Backoff {
  public:
    std::chrono::milliseconds failed(std::optional<std::chrono::seconds> asked_for);
    void succeeded() { failures_ = 0; }

  private:
    unsigned failures_ = 0;
    std::minstd_rand random_{std::random_device{}()};
};

class Forwarder {
  public:
    Forwarder(Store &store, std::unique_ptr<Sink> sink, std::string name);
    ~Forwarder();

    void start();
    // Delivers what is left if that is quick, and ends the thread.
    void finish();
    // Asks nothing of the store: it may be busy, and a scrape does not wait for it.
    SinkStatus status() const;

  private:
    void loop();
    // One batch; false if there was none.
    bool forward();
    void deliver(const std::vector<OutboxRow> &rows, std::uint64_t after);
    void reject(std::uint64_t items, const std::string &why);

    Store &store_;
    const std::unique_ptr<Sink> sink_;
    const std::string name_;
    std::uint64_t cursor_ = 0;
    bool resumed_ = false;
    Backoff backoff_;
    std::string logged_error_;
    std::atomic<std::uint64_t> delivered_ = 0, rejected_ = 0, failures_ = 0, backlog_ = 0;

    std::mutex mutex_;
    std::condition_variable changed_;
    bool stopping_ = false;  // the next failure and the next empty batch end the thread
    bool ended_ = false;
    std::thread thread_;
};

}  // namespace hakmem
