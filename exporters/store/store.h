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
struct sqlite3_context;
struct sqlite3_value;

namespace hakmem {

class StoreError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct IncidentFilter {
    std::optional<std::string> process;
    std::optional<std::string> kind;
    std::optional<std::string> fingerprint;
    std::optional<std::uint64_t> since_ns;  // seen then or later
    std::optional<std::uint64_t> until_ns;  // seen then or earlier
    std::uint64_t limit = 100;
    std::uint64_t offset = 0;
};

// One row without its JSON: what a list shows.
struct IncidentSummary {
    std::string id;
    std::string fingerprint;
    std::string kind;
    std::string process;
    std::uint64_t pid = 0;
    std::string thread;
    std::string level;
    std::string site;
    std::string other_site;
    std::uint64_t count = 0;
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
};

// All incidents of one fingerprint, that is: of one bug.
struct IncidentGroup {
    std::string fingerprint;
    std::string kind;
    std::string latest_id;
    std::string site;        // where it was found, of the latest
    std::string caller;      // of the function there
    std::string other_site;  // the second place to look at, of the latest; may be empty
    std::vector<std::string> processes;
    std::uint64_t incidents = 0;
    std::uint64_t count = 0;
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
};

// One value that a filter may take, and how much it would leave.
struct Facet {
    std::string name;
    std::uint64_t groups = 0;
    std::uint64_t count = 0;
};

struct IncidentGroups {
    std::vector<IncidentGroup> groups;  // latest first, `limit` of them behind `offset`
    std::uint64_t all_groups = 0;       // whatever limit and offset
    std::uint64_t all_incidents = 0;
    std::uint64_t all_count = 0;
    // What there is to choose from: each counted without the filter by itself.
    std::vector<Facet> kinds;
    std::vector<Facet> processes;
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
    std::vector<IncidentSummary> summaries(const IncidentFilter &filter);
    // By id or the only one that begins so. `matches` says how many did, up to 2.
    std::optional<std::string> find(const std::string &id, int &matches);
    IncidentGroups groups(const IncidentFilter &filter);
    // Deletes what was last seen before that and returns how many.
    std::uint64_t expire(std::uint64_t before_ns);

    // Puts everything into the database file itself, so that it can be copied alone.
    void checkpoint();
    // What `work` writes becomes visible and durable at once, or not at all if it throws.
    void in_transaction(const std::function<void()> &work);

  private:
    class Statement;
    void execute(const char *sql);
    void add_function(const char *name, void (*function)(sqlite3_context *, int, sqlite3_value **));
    void migrate();
    std::vector<Facet> facets(const char *column, const IncidentFilter &filter);

    std::recursive_mutex mutex_;
    sqlite3 *db_ = nullptr;
};

// $XDG_STATE_HOME/hakmem/incidents.db, else below ~/.local/state.
std::string default_store_path();

}  // namespace hakmem
