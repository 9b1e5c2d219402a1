// The incident store: SQLite in WAL mode, so that `hakmem incidents` reads while an exporter writes.
//
// One row an incident record of one process; (segment, record) is unique, so reading a segment again can raise a count
// but never double it. Rows with equal fingerprint are one bug: `groups` shows them so. Each row keeps the incident's
// whole JSON, made when it was first seen, for the binaries may be gone later.
//
// The store is the outbox of the sinks, too: whatever changes a row gives it the next number of one row of numbers, and
// a sink's cursor is the number up to which it has everything. What is behind the cursor is the backlog; a row that
// changed twice is in it once.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "incident/incident.h"
#include "store/incident_reader.h"

struct sqlite3;
struct sqlite3_context;
struct sqlite3_value;

namespace hakmem {

// A row as a sink gets it.
struct OutboxRow {
    std::uint64_t change = 0;
    std::string json;
    std::uint64_t first_ns = 0;  // exactly: the JSON has microseconds
    std::uint64_t last_ns = 0;
};

class Store : public IncidentReader {
  public:
    enum class Mode { create, existing };

    // Throws StoreError. ":memory:" is a store that lives as long as the object.
    Store(const std::string &path, Mode mode);
    ~Store() override;

    // The fingerprint of a record that is there.
    std::optional<std::string> fingerprint_of(const std::string &segment, std::uint32_t record);
    void add(const Incident &incident);
    // Counts and times only rise.
    void update(const std::string &segment, std::uint32_t record, std::uint64_t count, std::uint64_t last_ns);

    std::vector<std::string> list(const IncidentFilter &filter) override;
    std::vector<IncidentSummary> summaries(const IncidentFilter &filter) override;
    std::optional<std::string> find(const std::string &id, int &matches) override;
    IncidentGroups groups(const IncidentFilter &filter) override;
    // Deletes what was last seen before that and returns how many. What an attached sink has not got yet stays.
    std::uint64_t expire(std::uint64_t before_ns);

    // 32 hex digits that no other store has, and a copy of this one has too.
    std::string identity();
    // Makes a sink known: its cursor stays where it was when it was attached the last time.
    void attach(const std::string &sink);
    std::uint64_t cursor(const std::string &sink);
    void set_cursor(const std::string &sink, std::uint64_t change);
    // The rows behind a number, in order: at least one if there is any, and no more than `most_bytes` otherwise.
    std::vector<OutboxRow> changed_after(std::uint64_t change, std::uint64_t most_rows, std::uint64_t most_bytes);
    std::uint64_t backlog(std::uint64_t cursor);

    // Puts everything into the database file itself, so that it can be copied alone.
    void checkpoint();
    // What `work` writes becomes visible and durable at once, or not at all if it throws.
    void in_transaction(const std::function<void()> &work);

  private:
    void execute(const char *sql);
    void add_function(const char *name, void (*function)(sqlite3_context *, int, sqlite3_value **));
    void migrate();

    std::recursive_mutex mutex_;
    sqlite3 *db_ = nullptr;
    std::set<std::string> attached_;
};

// $XDG_STATE_HOME/hakmem/incidents.db, else below ~/.local/state.
std::string default_store_path();

}  // namespace hakmem
