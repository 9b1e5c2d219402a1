// Somewhere that incidents are sent to: a fleet's database, a collector of logs. A sink takes batches and keeps
// nothing; the forwarder reads them from the store, tries again and remembers how far it is.
//
// What is delivered may come again, for instance after a crash between delivery and the cursor's store: a sink marks
// it so that it counts once.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "incident/incident.h"

namespace hakmem {

struct SinkItem {
    Incident incident;
    std::string json;  // the incident's
};

struct SinkBatch {
    std::vector<SinkItem> items;
    std::uint64_t after = 0;   // the cursor before this batch
    std::uint64_t cursor = 0;  // and behind it
};

// What this host is to a sink.
struct SinkSource {
    std::string host;
    std::string store;    // Store::identity
    std::string address;  // HOST:PORT that its exporter can be scraped at; empty if it cannot from elsewhere
};

// Thrown by a sink that could not deliver.
class SinkError : public std::runtime_error {
  public:
    enum class Reason {
        unreachable,  // try again later
        refused,      // these data will never be taken
        too_large,    // a smaller batch may be taken
    };
    SinkError(Reason reason, const std::string &text, std::optional<std::chrono::seconds> retry_after = {})
        : std::runtime_error(text), reason(reason), retry_after(retry_after) {}
    const Reason reason;
    const std::optional<std::chrono::seconds> retry_after;  // that the other end asked for
};

// What the exporter says about one of its sinks.
struct SinkStatus {
    std::string name;
    std::uint64_t delivered = 0;  // incidents, since the start
    std::uint64_t rejected = 0;   // of which the other end said that it will never take them
    std::uint64_t failures = 0;   // attempts that failed
    std::uint64_t backlog = 0;
};

class Sink {
  public:
    Sink() = default;
    virtual ~Sink() = default;
    Sink(const Sink &) = delete;
    Sink &operator=(const Sink &) = delete;

    // Throws SinkError. A batch without items says that the cursor moves all the same. Returns how many items the other
    // end said it would not take.
    virtual std::uint64_t deliver(const SinkBatch &batch) = 0;
    // Where to go on from if the store says `cursor`: earlier if the other end has lost what it had.
    virtual std::uint64_t resume(std::uint64_t cursor) { return cursor; }
    // Nothing is left to deliver: a connection that is kept would be one of thousands at the other end.
    virtual void idle() = 0;
    // A delivery that is under way ends soon, with a SinkError. From any thread.
    virtual void interrupt() = 0;
};

// A sink's URL in the form that may be shown and that names its cursor: without user, password and options.
std::string sink_name(const std::string &url);

// Throws std::invalid_argument with a text for people if the URL is none of a sink.
std::unique_ptr<Sink> make_sink(const std::string &url, const SinkSource &source);

}  // namespace hakmem
