// What the page, the API and the commands ask of a place that keeps incidents, be it one host's store or a fleet's
// database.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace hakmem {

class StoreError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct IncidentFilter {
    std::optional<std::string> process;
    std::optional<std::string> kind;
    std::optional<std::string> fingerprint;
    std::optional<std::string> host;        // of a fleet only
    std::optional<std::string> build_id;    // of a fleet only
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
    std::string host;      // of a fleet only
    std::string build_id;  // of a fleet only
};

// One build in which a bug was seen: that of the module where it was found.
struct IncidentBuild {
    std::string build_id;  // empty if the module has none
    std::string module;    // base name
    std::uint64_t hosts = 0;
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
    std::uint64_t hosts = 0;            // of a fleet only
    std::vector<IncidentBuild> builds;  // of a fleet only: the one that was seen first, then the latest
    std::uint64_t all_builds = 0;
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

// An exporter of a fleet.
struct FleetHost {
    std::string name;
    std::string address;  // HOST:PORT
};

class IncidentReader {
  public:
    IncidentReader() = default;
    virtual ~IncidentReader() = default;
    IncidentReader(const IncidentReader &) = delete;
    IncidentReader &operator=(const IncidentReader &) = delete;

    // All throw StoreError. JSON texts, newest first:
    virtual std::vector<std::string> list(const IncidentFilter &filter) = 0;
    virtual std::vector<IncidentSummary> summaries(const IncidentFilter &filter) = 0;
    // By id or the only one that begins so. `matches` says how many did, up to 2.
    virtual std::optional<std::string> find(const std::string &id, int &matches) = 0;
    virtual IncidentGroups groups(const IncidentFilter &filter) = 0;
    // The hosts that can be scraped, if these are the incidents of many; nothing if they are one host's.
    virtual std::optional<std::vector<FleetHost>> hosts() { return std::nullopt; }
};

// Whether an incident's id may begin so.
bool is_id_prefix(const std::string &id);

}  // namespace hakmem
