// The incident store: SQLite in WAL mode, so that `hakmem incidents` reads while an exporter writes.
//
// One row an incident record of one process; (segment, record) is unique, so reading a segment again can raise a count
// but never double it. Rows with equal fingerprint are one bug: `groups` shows them so. Each row keeps the incident's
// whole JSON, made when it was first seen, for the binaries may be gone later.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "incident/incident.h"

struct sqlite3;

namespace hakmem {

class StoreError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct IncidentFilter {
    std::optional<std::string> process;
    std::optional<std::string> kind;
    std::optional<std::string> fingerprint;
    std::optional<std::uint64_t> since_ns;  // seen then or later
    std::uint64_t limit = 100;
};

// All incidents of one fingerprint.
struct IncidentGroup {
    std::string fingerprint;
    std::string kind;
    std::string process;  // of the latest
    std::string latest_id;
    std::uint64_t incidents = 0;
    std::uint64_t count = 0;
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
};

class Store {
  public:
    enum class Mode { create, existing };

    // Throws StoreError. ":memory:" is a store that lives as long as the object.
    Store(const std::string &path, Mode mode);
    ~Store();
    Store(const Store &) = delete;
    Store &operator=(const Store &) = delete;

    bool has(const std::string &segment, std::uint32_t record);
    void add(const Incident &incident);
    // Counts and times only rise.
    void update(const std::string &segment, std::uint32_t record, std::uint64_t count, std::uint64_t last_ns);

    // JSON texts, newest first.
    std::vector<std::string> list(const IncidentFilter &filter);
    // By id or the only one that begins so. `matches` says how many did, up to 2.
    std::optional<std::string> find(const std::string &id, int &matches);
    std::vector<IncidentGroup> groups(std::uint64_t limit);
    // Deletes what was last seen before that and returns how many.
    std::uint64_t expire(std::uint64_t before_ns);

    // Puts everything into the database file itself, so that it can be copied alone.
    void checkpoint();
    // What `work` writes becomes visible and durable at once, or not at all if it throws.
    void in_transaction(const std::function<void()> &work);

  private:
    class Statement;
    void execute(const char *sql);
    void migrate();

    std::recursive_mutex mutex_;
    sqlite3 *db_ = nullptr;
};

// $XDG_STATE_HOME/hakmem/incidents.db, else below ~/.local/state.
std::string default_store_path();

}  // namespace hakmem
