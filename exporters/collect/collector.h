// Keeps the sums over all segments in a runtime dir, including those of processes that have ended, so that no counter
// falls while an exporter lives.
//
// Every segment seen has an entry, keyed by the identity of the process image (it survives the rename that exec makes).
// A segment whose process ended stays as it is for a grace period, then its counters are folded into the retained sums
// and its file is deleted, once its incidents are in the store. Thread-safe.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "segment/reader.h"

namespace hakmem {

inline constexpr std::uint32_t kLargeClass = UINT32_MAX;      // key of blocks beyond the size classes
inline constexpr std::uint32_t kOtherClass = UINT32_MAX - 1;  // of those of a class beyond kMaxClasses
// Of one group: more than any version has, and no more than that, whatever a segment says.
inline constexpr std::size_t kMaxClasses = 64;

struct SizeClassTotals {
    std::uint64_t allocations = 0;
    std::uint64_t frees = 0;
    std::uint64_t live_blocks = 0;  // of running processes
};

// Sums over the processes of one group. Counters include ended processes, the rest is of running ones.
struct Totals {
    segment::Counters counters;  // without its size classes, which may differ between processes
    std::map<std::uint32_t, SizeClassTotals> size_classes;  // by slot bytes or kLargeClass
    std::uint64_t live_bytes = 0;
    std::uint64_t cached_bytes = 0;
    std::uint64_t mapped_bytes = 0;
    std::uint64_t quarantine_bytes = 0;
    std::array<std::uint64_t, std::size(segment::kLevelNames)> processes{};  // by level

    void add_counters(const segment::Snapshot &snapshot);
    void add_counters(const Totals &other);
    void add_gauges(const segment::Snapshot &snapshot);
    void raise_to(const Totals &floor);  // counters: the larger of both
};

// What series are summed by: the process label, and the pid where that is asked for.
struct GroupKey {
    std::string process;
    std::string pid;
    auto operator<=>(const GroupKey &) const = default;
};
inline constexpr const char *kEndedPid = "ended";
inline constexpr const char *kOther = "other";  // process and pid of those for which there is no room

struct CollectorOptions {
    std::string runtime_dir;
    bool by_pid = false;
    bool delete_ended = false;
    // Groups with series of their own: the rest is in one more. Whoever has them keeps them, or a counter would fall.
    std::size_t max_groups = SIZE_MAX;
    std::chrono::seconds grace{60};
    // Processes that are none of ours: those that were in the dir before.
    std::set<std::pair<std::uint64_t, std::uint64_t>> ignored;  // pid, start ticks
};

class Collector {
  public:
    explicit Collector(CollectorOptions options);

    // Reads all segments again. Cheap enough for every scrape.
    void refresh();

    struct State {
        std::map<GroupKey, Totals> groups;
        std::uint64_t segments = 0;        // readable now
        std::uint64_t segment_errors = 0;  // reads that failed, since the start
        std::uint64_t in_other = 0;        // of the segments, those without series of their own
    };
    State state();
    std::vector<segment::Snapshot> snapshots();             // of all segments that are there
    std::optional<std::string> path_of(std::uint64_t pid);  // of the segment of that process's present image
    Totals totals();                                        // over everything seen

    // The segments whose incidents changed since the last `incidents_taken`, and those that ended since.
    struct Pending {
        std::string identity;
        std::string path;
        std::uint64_t mark;
        bool ended;
    };
    std::vector<Pending> pending();
    void incidents_taken(const Pending &pending);

  private:
    using Clock = std::chrono::steady_clock;
    struct Entry {
        std::optional<GroupKey> group;  // once it is admitted
        std::string path;
        segment::Snapshot last;
        bool present = false;
        std::optional<Clock::time_point> gone_since;  // ended, or its file is not there
        std::uint64_t taken_mark = 0;
        bool ended_taken = false;
    };

    void read_one(const segment::File &file);
    void count_error(const std::string &path, const std::string &error);
    void admit_new();
    GroupKey other() const;
    void fold_old();
    void fold(const std::string &identity, const Entry &entry);

    const CollectorOptions options_;
    std::mutex mutex_;
    std::map<std::string, Entry> entries_;    // by Snapshot::identity
    std::map<GroupKey, Totals> retained_;     // of entries that are no more
    std::map<GroupKey, Totals> shown_;        // what was shown last: no counter falls below it
    std::unordered_set<std::string> folded_;  // identities in `retained_`
    std::map<std::string, std::string> logged_errors_;
    std::uint64_t errors_ = 0;
};

}  // namespace hakmem
