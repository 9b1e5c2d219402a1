#include "collect/collector.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <tuple>

#include "log/log.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::size_t kMaxRemembered = 100'000;  // folded identities
constexpr std::size_t kMaxLoggedErrors = 1'000;
constexpr std::time_t kUnfinishedSeconds = 10;  // a segment that takes longer to be completed never will be

GroupKey group_of(const segment::Snapshot &snapshot, bool by_pid) {
    std::string process = text::clean(snapshot.process);
    if (process.empty()) process = text::clean(text::base_name(snapshot.exe));
    if (process.empty()) process = "unknown";
    return {std::move(process), by_pid ? std::to_string(snapshot.pid) : std::string()};
}

bool is_young(const std::string &path) {
    struct stat info {};
    return ::stat(path.c_str(), &info) == 0 && std::time(nullptr) - info.st_mtime < kUnfinishedSeconds;
}

std::uint32_t class_key(const segment::Snapshot &snapshot, unsigned index) {
    return index == segment::kSizeClasses ? kLargeClass : snapshot.slot_bytes[index];
}

SizeClassTotals &size_class(Totals &totals, std::uint32_t key) {
    const bool full = totals.size_classes.size() >= kMaxClasses && !totals.size_classes.contains(key);
    return totals.size_classes[full ? kOtherClass : key];
}

template <std::size_t N>
void raise(std::array<std::uint64_t, N> &values, const std::array<std::uint64_t, N> &floor) {
    for (std::size_t i = 0; i < N; ++i) values[i] = std::max(values[i], floor[i]);
}

void raise(std::uint64_t &value, std::uint64_t floor) { value = std::max(value, floor); }

// What changes whenever an incident is recorded or counted; never 0 if there is one.
std::uint64_t incident_mark(const segment::Snapshot &snapshot) {
    return snapshot.counters.all_incidents() + snapshot.incidents_used;
}

}  // namespace

void Totals::add_counters(const segment::Snapshot &snapshot) {
    counters.add(snapshot.counters);
    for (unsigned i = 0; i < segment::kCounterRow; ++i) {
        const std::uint64_t allocations = snapshot.counters.allocations[i], frees = snapshot.counters.frees[i];
        if (allocations == 0 && frees == 0) continue;
        SizeClassTotals &sums = size_class(*this, class_key(snapshot, i));
        sums.allocations += allocations;
        sums.frees += frees;
    }
}

void Totals::add_counters(const Totals &other) {
    counters.add(other.counters);
    for (const auto &[key, sums] : other.size_classes) {
        SizeClassTotals &own = size_class(*this, key);
        own.allocations += sums.allocations;
        own.frees += sums.frees;
    }
}

void Totals::add_gauges(const segment::Snapshot &snapshot) {
    live_bytes += snapshot.counters.live_bytes();
    cached_bytes += snapshot.cached_bytes();
    mapped_bytes += snapshot.gauges.mapped_bytes;
    quarantine_bytes += snapshot.gauges.quarantine_bytes;
    ++processes[static_cast<std::size_t>(snapshot.level)];
    for (unsigned i = 0; i < segment::kCounterRow; ++i)
        if (const std::uint64_t blocks = snapshot.counters.live_blocks(i); blocks != 0)
            size_class(*this, class_key(snapshot, i)).live_blocks += blocks;
}

void Totals::raise_to(const Totals &floor) {
    const segment::Counters &low = floor.counters;
    raise(counters.allocated_bytes, low.allocated_bytes);
    raise(counters.freed_bytes, low.freed_bytes);
    raise(counters.free_path, low.free_path);
    raise(counters.header_invalid, low.header_invalid);
    raise(counters.slow_path, low.slow_path);
    raise(counters.mincore_calls, low.mincore_calls);
    raise(counters.incidents, low.incidents);
    raise(counters.last_incident_ns, low.last_incident_ns);
    raise(counters.incidents_dropped, low.incidents_dropped);
    raise(counters.headers_audited, low.headers_audited);
    raise(counters.audits, low.audits);
    raise(counters.backtraces, low.backtraces);
    for (const auto &[key, sums] : floor.size_classes) {
        raise(size_classes[key].allocations, sums.allocations);
        raise(size_classes[key].frees, sums.frees);
    }
}

Collector::Collector(CollectorOptions options) : options_(std::move(options)) {}

void Collector::count_error(const std::string &path, const std::string &error) {
    ++errors_;
    std::string &logged = logged_errors_[path];
    if (logged != error) log::warn(text::clean(path) + ": " + text::clean(error));
    logged = error;
    if (logged_errors_.size() > kMaxLoggedErrors) logged_errors_.clear();
}

void Collector::read_one(const segment::File &file) {
    if (options_.ignored.contains({file.name.pid, file.name.start_ticks})) return;
    segment::ReadResult result = segment::read_file(file.path, segment::Parts::counters);
    if (!result.snapshot) {
        if (result.gone || (result.unfinished && is_young(file.path))) return;
        count_error(file.path, result.error);
        for (auto &[identity, entry] : entries_)  // it has become unreadable: what was read stays
            if (entry.path == file.path) entry.present = true;
        return;
    }
    const std::string identity = result.snapshot->identity();
    if (folded_.contains(identity)) return;
    Entry &entry = entries_[identity];
    if (entry.present) {
        count_error(file.path, "is a second segment of the process in " + entry.path);
        return;
    }
    entry.present = true;
    entry.path = file.path;
    entry.last = std::move(*result.snapshot);
    if (entry.last.alive)
        entry.gone_since.reset();
    else if (!entry.gone_since)
        entry.gone_since = Clock::now();
}

GroupKey Collector::other() const { return {kOther, options_.by_pid ? kOther : ""}; }

// Gives each new entry its group. Where there is no room for all, those with incidents go first, then the large ones.
void Collector::admit_new() {
    std::vector<Entry *> fresh;
    std::set<GroupKey> known;
    for (auto &[identity, entry] : entries_) {
        if (!entry.group)
            fresh.push_back(&entry);
        else
            known.insert(*entry.group);
    }
    if (fresh.empty()) return;
    for (const auto &[key, totals] : retained_) known.insert(key);
    known.erase(other());
    std::stable_sort(fresh.begin(), fresh.end(), [](const Entry *a, const Entry *b) {
        const segment::Counters &left = a->last.counters, &right = b->last.counters;
        return std::make_tuple(left.all_incidents(), left.allocated_bytes) >
               std::make_tuple(right.all_incidents(), right.allocated_bytes);
    });
    for (Entry *entry : fresh) {
        GroupKey key = group_of(entry->last, options_.by_pid);
        if (!known.contains(key) && known.size() >= options_.max_groups) key = other();
        entry->group = key;
        if (key != other()) known.insert(std::move(key));
    }
}

void Collector::fold(const std::string &identity, const Entry &entry) {
    GroupKey key = entry.group.value();
    if (options_.by_pid) {
        key.pid = kEndedPid;
        // Names come and go, too: half of the room is for those that have ended.
        if (!retained_.contains(key) && retained_.size() >= options_.max_groups / 2) key = other();
    }
    retained_[key].add_counters(entry.last);
    if (folded_.size() >= kMaxRemembered) folded_.clear();
    folded_.insert(identity);
}

void Collector::fold_old() {
    const auto now = Clock::now();
    for (auto at = entries_.begin(); at != entries_.end();) {
        const Entry &entry = at->second;
        bool old = entry.gone_since && now - *entry.gone_since >= options_.grace;
        if (old && entry.present) {
            old = options_.delete_ended && entry.ended_taken;
            if (old && ::unlink(entry.path.c_str()) != 0 && errno != ENOENT) {
                count_error(entry.path, std::string("cannot delete: ") + std::strerror(errno));
                old = false;
            }
            // The folder of a `hakmem run` that could not tidy up goes with its last segment.
            const std::string folder = entry.path.substr(0, entry.path.rfind('/'));
            if (old && text::base_name(folder).starts_with(segment::kRunFolderPrefix)) ::rmdir(folder.c_str());
        }
        if (old) {
            fold(at->first, entry);
            at = entries_.erase(at);
        } else {
            ++at;
        }
    }
}

void Collector::refresh() {
    const std::lock_guard lock(mutex_);
    for (auto &[identity, entry] : entries_) entry.present = false;
    std::string error;
    for (const segment::File &file : segment::find_files(options_.runtime_dir, error)) read_one(file);
    admit_new();
    for (auto &[identity, entry] : entries_)
        if (!entry.present && !entry.gone_since) entry.gone_since = Clock::now();
    fold_old();
}

Collector::State Collector::state() {
    const std::lock_guard lock(mutex_);
    State state;
    state.groups = retained_;
    for (const auto &[identity, entry] : entries_) {
        Totals &group = state.groups[entry.group.value()];
        group.add_counters(entry.last);
        if (entry.present && entry.last.alive) group.add_gauges(entry.last);
        if (!entry.present) continue;
        ++state.segments;
        if (entry.group == other()) ++state.in_other;
    }
    for (auto &[key, totals] : state.groups)
        if (const auto before = shown_.find(key); before != shown_.end()) totals.raise_to(before->second);
    shown_ = state.groups;
    state.segment_errors = errors_;
    return state;
}

Totals Collector::totals() {
    const std::lock_guard lock(mutex_);
    Totals sum;
    for (const auto &[key, totals] : retained_) sum.add_counters(totals);
    for (const auto &[identity, entry] : entries_) sum.add_counters(entry.last);
    return sum;
}

std::vector<segment::Snapshot> Collector::snapshots() {
    const std::lock_guard lock(mutex_);
    std::vector<segment::Snapshot> all;
    for (const auto &[identity, entry] : entries_)
        if (entry.present) all.push_back(entry.last);
    return all;
}

std::optional<std::string> Collector::path_of(std::uint64_t pid) {
    const std::lock_guard lock(mutex_);
    const Entry *best = nullptr;
    for (const auto &[identity, entry] : entries_)
        if (entry.present && entry.last.pid == pid &&
            (best == nullptr || (entry.last.alive && !best->last.alive) ||
             (entry.last.alive == best->last.alive && entry.last.start_time_ns > best->last.start_time_ns)))
            best = &entry;
    return best != nullptr ? std::optional(best->path) : std::nullopt;
}

std::vector<Collector::Pending> Collector::pending() {
    const std::lock_guard lock(mutex_);
    std::vector<Pending> all;
    for (const auto &[identity, entry] : entries_) {
        const bool ended = entry.present && !entry.last.alive;
        const std::uint64_t mark = incident_mark(entry.last);
        if (entry.present && (mark != entry.taken_mark || (ended && !entry.ended_taken)))
            all.push_back({identity, entry.path, mark, ended});
    }
    return all;
}

void Collector::incidents_taken(const Pending &pending) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(pending.identity);
    if (found == entries_.end()) return;
    found->second.taken_mark = pending.mark;
    if (pending.ended) found->second.ended_taken = true;
}

}  // namespace hakmem
