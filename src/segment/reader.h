// The reader of segment files: finds them, checks every offset and count against the file's size, copies, and hands out
// plain values. All presentation stands on these values; nothing else interprets a segment.
//
// A segment is written by a program whose heap may be corrupt, or by somebody hostile, and may change or be truncated
// at any moment. So: pread, never mmap; each field is clamped to what it may be; a record that changes while it is read
// is left out and comes with the next read. Nothing here throws for bad input or trusts a string to end.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "segment/layout.h"

namespace hakmem::segment {

// PID-STARTTICKS.hakmem is the segment of a process; PID-STARTTICKS.execN.hakmem is what it left behind when it
// replaced itself by exec.
struct FileName {
    std::uint64_t pid = 0;
    std::uint64_t start_ticks = 0;
    std::uint32_t exec = 0;  // 0: the file of the process's present image

    static std::optional<FileName> parse(std::string_view name);
};

struct File {
    std::string path;
    FileName name;
};

// The segment files in `dir` and in the private folders (run-*) that `hakmem run` makes below it, by path. A folder
// that cannot be read gives none and fills `error`.
std::vector<File> find_files(const std::string &dir, std::string &error);

inline constexpr std::string_view kRunFolderPrefix = "run-";

// Counters of a whole process: the sums over its shards. Sums saturate.
struct Counters {
    std::array<std::uint64_t, kCounterRow> allocations{};
    std::array<std::uint64_t, kCounterRow> frees{};
    std::uint64_t allocated_bytes = 0;
    std::uint64_t freed_bytes = 0;
    std::array<std::uint64_t, 3> free_path{};       // FreePath
    std::array<std::uint64_t, 3> header_invalid{};  // HeaderInvalid
    std::array<std::uint64_t, 5> slow_path{};       // SlowReason
    std::array<std::uint64_t, 3> mincore_calls{};   // MincoreResult
    std::array<std::uint64_t, kKinds> incidents{};  // Kind
    std::array<std::uint64_t, kKinds> last_incident_ns{};
    std::uint64_t incidents_dropped = 0;
    std::uint64_t headers_audited = 0;
    std::uint64_t audits = 0;
    std::array<std::uint64_t, 2> backtraces{};  // BacktraceCause

    std::uint64_t live_bytes() const { return allocated_bytes > freed_bytes ? allocated_bytes - freed_bytes : 0; }
    std::uint64_t live_blocks(unsigned size_class) const {
        return allocations[size_class] > frees[size_class] ? allocations[size_class] - frees[size_class] : 0;
    }
    std::uint64_t all_incidents() const;
    // Adds another process's counters; timestamps take the later one.
    void add(const Counters &other);
};

struct Module {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
    std::uint64_t bias = 0;
    std::string build_id;  // raw bytes
    std::string path;
};

struct Frame {
    std::uint64_t pc = 0;
    std::uint16_t module = kNoModule;  // index into Snapshot::modules, checked
};
using Frames = std::vector<Frame>;

// Who an incident accuses: a neighbour of the broken block.
struct Suspect {
    std::uint64_t address = 0;
    std::uint64_t slot_bytes = 0;
    SlotState state = SlotState::unknown;
};

struct Incident {
    std::uint32_t record = 0;  // index in the file, with the segment the incident's identity
    Kind kind = Kind::double_free;
    std::uint64_t key = 0;
    std::uint64_t count = 0;
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
    std::uint64_t address = 0;
    std::uint64_t block = 0;
    std::int64_t offset = 0;
    std::uint64_t slot_bytes = 0;
    std::uint64_t asked_bytes = 0;
    AddressRegion region = AddressRegion::none;
    std::optional<HeaderInvalid> outcome;
    Level level = Level::count;
    std::uint32_t tid = 0;
    std::string thread;
    bool header_known = false;
    std::uint8_t header_found = 0;
    std::uint8_t header_expected = 0;
    std::optional<Suspect> suspect;
    std::uint64_t dump_address = 0;
    std::string dump;  // raw bytes
    Frames free, alloc, previous_free, suspect_alloc, writer;
};

// What one allocation stack has in the heap profile: estimates from samples.
struct HeapSite {
    Frames stack;
    std::uint64_t allocated_objects = 0;
    std::uint64_t allocated_bytes = 0;
    std::uint64_t freed_objects = 0;
    std::uint64_t freed_bytes = 0;

    std::uint64_t live_objects() const {
        return allocated_objects > freed_objects ? allocated_objects - freed_objects : 0;
    }
    std::uint64_t live_bytes() const { return allocated_bytes > freed_bytes ? allocated_bytes - freed_bytes : 0; }
};

struct Snapshot {
    FileName name;
    std::uint64_t pid = 0;
    std::uint64_t start_ticks = 0;
    std::uint64_t start_time_ns = 0;
    std::uint64_t ended_ns = 0;
    bool alive = false;  // the process that writes this file is running now
    Level level = Level::count;
    std::string version;
    std::string process;
    std::string exe;
    std::array<std::uint32_t, kSizeClasses> slot_bytes{};
    HeapGauges gauges{};
    Control control{};
    std::uint32_t control_seen = 0;
    std::uint32_t nudge_signal = 0;  // makes the process look at its control word at once; 0: it has none
    std::uint32_t audits_done = 0;
    std::uint32_t audit_corrupt = 0;
    std::uint32_t hunt_seen = 0;
    std::uint32_t hunt_armed = 0;  // the last request that was granted
    HuntMeans hunt_means = HuntMeans::none;
    std::uint32_t threads = 0;  // shards in use
    std::uint32_t incidents_used = 0;
    Counters counters;
    std::vector<Incident> incidents;  // of Parts::all only
    std::vector<Module> modules;      // of Parts::all and Parts::heap only
    std::vector<HeapSite> heap;       // of Parts::heap only

    std::uint64_t cached_bytes() const {
        const std::uint64_t live = counters.live_bytes();
        return gauges.block_bytes > live ? gauges.block_bytes - live : 0;
    }
    // Names this image of this process, also after a reboot and across exec.
    std::string identity() const;
};

struct ReadResult {
    std::optional<Snapshot> snapshot;
    std::string error;        // why there is no snapshot, for people
    bool unfinished = false;  // the writer has not completed the file yet: no error, try again
    bool gone = false;        // there is no such file any more
};

enum class Parts { counters, all, heap };

// Reads one file. Only regular files of the effective user are read, or anyone's when that is root.
ReadResult read_file(const std::string &path, Parts parts);

// Whether the process with that id runs and is the one that started then.
bool process_alive(std::uint64_t pid, std::uint64_t start_ticks);
// Its start time in clock ticks since boot; empty if there is no such process, or it is a zombie.
std::optional<std::uint64_t> process_start_ticks(std::uint64_t pid);

// Asks the process for an audit; returns an error text, empty if done. `request` is what it shows in
// Snapshot::audits_done once it has carried it out.
std::string request_audit(const std::string &path, std::uint32_t &request);

// Asks the process to hunt the writer behind the incident of that key (0: of none), or, where it knows none such, in
// blocks of that slot size (0: of none). `request` is what it shows in Snapshot::hunt_seen once it has seen it.
std::string request_hunt(const std::string &path, std::uint64_t key, std::uint32_t slot_bytes, std::uint32_t &request);

// What `hakmem set` may change.
struct ControlChange {
    std::optional<Level> level;
    std::optional<OnError> on_error;
    std::optional<std::uint32_t> audit_interval_s;
    std::optional<std::uint64_t> sample_bytes;
};
// Writes the control word of the segment; returns an error text, empty if done. `generation` is what the process
// shows in Snapshot::control_seen once it obeys.
std::string change_control(const std::string &path, const ControlChange &change, std::uint32_t &generation);

}  // namespace hakmem::segment
