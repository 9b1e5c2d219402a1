#include "segment/reader.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "segment/liveness.h"

namespace hakmem::segment {
namespace {

constexpr std::string_view kSuffix = ".hakmem";
constexpr std::string_view kExecMark = ".exec";

// Bounds on what a file may make the reader do, far above what the writer makes.
constexpr std::uint64_t kMaxFileBytes = std::uint64_t{1} << 30;
constexpr std::uint32_t kMaxShards = 1 << 16;
constexpr std::uint32_t kMaxIncidents = 1 << 16;
constexpr std::uint32_t kMaxStacks = 1 << 16;
constexpr std::uint32_t kMaxModules = kNoModule;
constexpr std::uint32_t kMaxSlotBytes = 1 << 20;
constexpr int kTries = 3;  // of a record that changes while it is read

class Fd {
  public:
    explicit Fd(int fd) : fd_(fd) {}
    ~Fd() {
        if (fd_ >= 0) ::close(fd_);
    }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

std::uint64_t saturating_add(std::uint64_t a, std::uint64_t b) {
    std::uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

std::uint64_t saturating_mul(std::uint64_t a, std::uint64_t b) {
    std::uint64_t product;
    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

void accumulate(std::uint64_t &sum, std::uint64_t value) { sum = saturating_add(sum, value); }

template <std::size_t N>
void accumulate(std::array<std::uint64_t, N> &sums, const std::array<std::uint64_t, N> &values) {
    for (std::size_t i = 0; i < N; ++i) accumulate(sums[i], values[i]);
}

template <std::size_t N>
void accumulate(std::array<std::uint64_t, N> &sums, const std::uint64_t (&values)[N]) {
    for (std::size_t i = 0; i < N; ++i) accumulate(sums[i], values[i]);
}

// A field that should be one of `count` values.
template <class Enum>
Enum clamp_enum(std::uint32_t value, std::size_t count) {
    return static_cast<Enum>(value < count ? value : 0);
}

template <std::size_t N>
std::string bounded_string(const char (&text)[N]) {
    return std::string(text, ::strnlen(text, N));
}

bool read_exactly(int fd, void *to, std::size_t bytes, std::uint64_t offset) {
    auto *out = static_cast<char *>(to);
    while (bytes > 0) {
        const ssize_t got = ::pread(fd, out, bytes, static_cast<off_t>(offset));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        out += got;
        offset += static_cast<std::uint64_t>(got);
        bytes -= static_cast<std::size_t>(got);
    }
    return true;
}

bool write_exactly(int fd, const void *from, std::size_t bytes, std::uint64_t offset) {
    for (;;) {
        const ssize_t put = ::pwrite(fd, from, bytes, static_cast<off_t>(offset));
        if (put < 0 && errno == EINTR) continue;
        return put == static_cast<ssize_t>(bytes);
    }
}

std::string errno_text(const char *what, int error) { return std::string(what) + ": " + std::strerror(error); }

// Empty, or why the section cannot be what it says.
std::string check_section(const Section &section, const char *name, std::size_t record_bytes, std::uint32_t max_count,
                          std::uint64_t file_bytes) {
    if (section.count == 0) return {};
    if (section.stride < record_bytes || section.stride > 2 * record_bytes + 4096)
        return std::string("bad stride of section ") + name;
    if (section.count > max_count) return std::string("too many records in section ") + name;
    const std::uint64_t bytes = std::uint64_t{section.stride} * section.count;  // 32 bits each: cannot overflow
    if (section.offset < sizeof(Header) || section.offset > file_bytes || bytes > file_bytes - section.offset)
        return std::string("section ") + name + " reaches past the end of the file";
    return {};
}

// An open file whose header has been checked.
struct Opened {
    std::unique_ptr<Fd> fd;
    Header header{};
    ReadResult failure;  // set if fd is null
};

Opened fail(std::string text) {
    Opened opened;
    opened.failure.error = std::move(text);
    return opened;
}

std::string check_slot_sizes(const Header &header) {
    std::uint32_t previous = 0;
    bool ended = false;
    for (const std::uint32_t bytes : header.slot_bytes) {
        if (bytes == 0) {
            ended = true;
            continue;
        }
        if (ended || bytes <= previous || bytes > kMaxSlotBytes) return "size classes make no sense";
        previous = bytes;
    }
    return {};
}

// Root, or an exporter that was given this one right. Whoever else can open another user's file was meant to.
bool reads_for_others() {
    if (::geteuid() == 0) return true;
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
    return ::syscall(SYS_capget, &header, sets) == 0 && (sets[0].effective >> CAP_DAC_READ_SEARCH & 1U) != 0;
}

Opened open_checked(const std::string &path, int flags) {
    auto fd = std::make_unique<Fd>(::open(path.c_str(), flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (fd->get() < 0) {
        const int error = errno;
        Opened opened = fail(error == ELOOP ? "is a symbolic link" : errno_text("cannot open", error));
        opened.failure.gone = error == ENOENT;
        return opened;
    }
    struct stat info {};
    if (::fstat(fd->get(), &info) != 0) return fail(errno_text("cannot stat", errno));
    if (!S_ISREG(info.st_mode)) return fail("is not a regular file");
    if (info.st_uid != ::geteuid() && !reads_for_others()) return fail("belongs to another user");
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (size < sizeof(Header)) {
        Opened opened = fail("too short for a segment (" + std::to_string(size) + " bytes)");
        opened.failure.unfinished = size == 0;
        return opened;
    }
    if (size > kMaxFileBytes) return fail("too large for a segment (" + std::to_string(size) + " bytes)");

    Opened opened;
    if (!read_exactly(fd->get(), &opened.header, sizeof opened.header, 0)) return fail("cannot read the header");
    const Header &header = opened.header;
    if (header.magic != kMagic) {
        Opened bad = fail("not a hakmem segment (wrong magic)");
        bad.failure.unfinished = header.magic == 0;
        return bad;
    }
    if (header.version != kVersion)
        return fail("segment version " + std::to_string(header.version) + ", this reader knows version " +
                    std::to_string(kVersion));
    if (header.header_bytes != sizeof(Header)) return fail("bad header size");
    if (header.file_bytes > size)
        return fail("truncated: " + std::to_string(size) + " of " + std::to_string(header.file_bytes) + " bytes");
    for (std::string text :
         {check_section(header.shards, "shards", sizeof(CounterShard), kMaxShards, size),
          check_section(header.incidents, "incidents", sizeof(IncidentRecord), kMaxIncidents, size),
          check_section(header.modules, "modules", sizeof(ModuleRecord), kMaxModules, size),
          check_section(header.stacks, "stacks", sizeof(StackRecord), kMaxStacks, size), check_slot_sizes(header)})
        if (!text.empty()) return fail(std::move(text));
    opened.fd = std::move(fd);
    return opened;
}

void add_shard(const CounterShard &shard, const Header &header, Snapshot &snapshot, std::uint64_t &header16,
               std::uint64_t &slow) {
    Counters &sum = snapshot.counters;
    accumulate(sum.allocations, shard.allocations);
    accumulate(sum.frees, shard.frees);
    for (unsigned i = 0; i < kSizeClasses; ++i) {
        accumulate(sum.allocated_bytes, saturating_mul(shard.allocations[i], header.slot_bytes[i]));
        accumulate(sum.freed_bytes, saturating_mul(shard.frees[i], header.slot_bytes[i]));
    }
    accumulate(sum.allocated_bytes, shard.large_allocated_bytes);
    accumulate(sum.freed_bytes, shard.large_freed_bytes);
    accumulate(header16, shard.free_header16);
    accumulate(slow, shard.free_slow);
    accumulate(sum.header_invalid, shard.header_invalid);
    accumulate(sum.slow_path, shard.slow_path);
    accumulate(sum.mincore_calls, shard.mincore_calls);
    accumulate(sum.incidents, shard.incidents);
    accumulate(sum.incidents_dropped, shard.incidents_dropped);
    accumulate(sum.headers_audited, shard.headers_audited);
    accumulate(sum.audits, shard.audits);
    accumulate(sum.backtraces, shard.backtraces);
    for (unsigned i = 0; i < kKinds; ++i)
        sum.last_incident_ns[i] = std::max(sum.last_incident_ns[i], shard.last_incident_ns[i]);
}

// Counts only grow and are never moved, so one pass over the records is a sum that was right at some instant for each.
bool sum_shards(int fd, const Header &header, Snapshot &snapshot) {
    const Section &section = header.shards;
    const std::uint32_t used = std::min(header.shards_used, section.count);
    std::uint64_t header16 = 0, slow = 0;
    constexpr std::uint32_t kBatch = 64;
    const auto buffer = std::make_unique_for_overwrite<char[]>(std::size_t{std::min(kBatch, used)} * section.stride);
    for (std::uint32_t first = 0; first < used; first += kBatch) {
        const std::uint32_t batch = std::min(kBatch, used - first);
        if (!read_exactly(fd, buffer.get(), std::size_t{batch} * section.stride,
                          section.offset + std::uint64_t{first} * section.stride))
            return false;
        for (std::uint32_t i = 0; i < batch; ++i) {
            CounterShard shard;
            std::memcpy(&shard, buffer.get() + std::size_t{i} * section.stride, sizeof shard);
            if (shard.tid != 0) ++snapshot.threads;
            add_shard(shard, header, snapshot, header16, slow);
        }
    }
    std::uint64_t frees = 0;
    for (const std::uint64_t count : snapshot.counters.frees) accumulate(frees, count);
    // Refused frees took the slow path, but are no frees: the rest of the slow ones are among `frees`.
    const auto &invalid = snapshot.counters.header_invalid;
    const std::uint64_t refused = saturating_add(invalid[static_cast<unsigned>(HeaderInvalid::foreign)],
                                                 invalid[static_cast<unsigned>(HeaderInvalid::rejected)]);
    const std::uint64_t not_header1 = saturating_add(header16, slow > refused ? slow - refused : 0);
    auto &path = snapshot.counters.free_path;
    path[static_cast<unsigned>(FreePath::header1)] = frees > not_header1 ? frees - not_header1 : 0;
    path[static_cast<unsigned>(FreePath::header16)] = header16;
    path[static_cast<unsigned>(FreePath::slow)] = slow;
    return true;
}

Frames to_frames(const Stack &stack, std::size_t modules) {
    Frames frames;
    const std::uint32_t count = std::min<std::uint32_t>(stack.frames, kMaxFrames);
    frames.reserve(count);
    for (std::uint32_t i = 0; i < count; ++i)
        frames.push_back({stack.pc[i], stack.module[i] < modules ? stack.module[i] : kNoModule});
    return frames;
}

std::optional<Incident> to_incident(const IncidentRecord &record, std::uint32_t index, std::size_t modules) {
    if (record.kind >= kKinds) return std::nullopt;
    Incident incident;
    incident.record = index;
    incident.kind = static_cast<Kind>(record.kind);
    incident.key = record.key;
    incident.count = std::max<std::uint64_t>(record.count, 1);
    incident.first_ns = record.first_ns;
    incident.last_ns = std::max(record.last_ns, record.first_ns);
    incident.address = record.address;
    incident.block = record.block;
    incident.offset = record.offset;
    incident.slot_bytes = record.slot_bytes;
    incident.asked_bytes = record.asked_bytes;
    incident.region = clamp_enum<AddressRegion>(record.region, std::size(kAddressRegionNames));
    if (record.outcome < std::size(kHeaderInvalidNames)) incident.outcome = static_cast<HeaderInvalid>(record.outcome);
    incident.level = clamp_enum<Level>(record.level, std::size(kLevelNames));
    incident.tid = record.tid;
    incident.thread = bounded_string(record.thread);
    incident.header_known = record.header_known != 0;
    incident.header_found = record.header_found;
    incident.header_expected = record.header_expected;
    if (record.suspect_address != 0)
        incident.suspect = Suspect{record.suspect_address, record.suspect_slot_bytes,
                                   clamp_enum<SlotState>(record.suspect_state, std::size(kSlotStateNames))};
    incident.dump_address = record.dump_address;
    incident.dump.assign(reinterpret_cast<const char *>(record.dump),
                         std::min<std::size_t>(record.dump_bytes, sizeof record.dump));
    incident.free = to_frames(record.free, modules);
    incident.alloc = to_frames(record.alloc, modules);
    incident.previous_free = to_frames(record.previous_free, modules);
    incident.suspect_alloc = to_frames(record.suspect_alloc, modules);
    incident.writer = to_frames(record.writer, modules);
    return incident;
}

void read_incidents(int fd, const Header &header, Snapshot &snapshot) {
    const std::uint32_t used = std::min(header.incidents_used, header.incidents.count);
    for (std::uint32_t i = 0; i < used; ++i) {
        const std::uint64_t at = header.incidents.offset + std::uint64_t{i} * header.incidents.stride;
        for (int attempt = 0; attempt < kTries; ++attempt) {
            IncidentRecord record;
            std::uint32_t after = 0;
            if (!read_exactly(fd, &record, sizeof record, at)) return;
            if (!read_exactly(fd, &after, sizeof after, at + offsetof(IncidentRecord, sequence))) return;
            if (record.sequence == 0 || record.sequence % 2 != 0 || record.sequence != after) continue;
            if (record.key != 0)
                if (auto incident = to_incident(record, i, snapshot.modules.size()))
                    snapshot.incidents.push_back(std::move(*incident));
            break;
        }
    }
}

// A record is whole once its key is there; the sums change on, each by itself.
void read_heap(int fd, const Header &header, Snapshot &snapshot) {
    const std::uint32_t used = std::min(header.stacks_used, header.stacks.count);
    const auto objects = [](std::uint64_t fixed_point) { return fixed_point >> kObjectFractionBits; };
    for (std::uint32_t i = 1; i < used; ++i) {
        StackRecord record;
        if (!read_exactly(fd, &record, sizeof record, header.stacks.offset + std::uint64_t{i} * header.stacks.stride))
            return;
        if (record.key == 0 || record.allocated_objects == 0) continue;
        Stack stack{};
        stack.frames = record.frames;
        std::copy(std::begin(record.pc), std::end(record.pc), stack.pc);
        std::copy(std::begin(record.module), std::end(record.module), stack.module);
        snapshot.heap.push_back({to_frames(stack, snapshot.modules.size()), objects(record.allocated_objects),
                                 record.allocated_bytes, objects(record.freed_objects), record.freed_bytes});
    }
}

void read_modules(int fd, const Header &header, Snapshot &snapshot) {
    const std::uint32_t used = std::min(header.modules_used, header.modules.count);
    for (std::uint32_t i = 0; i < used; ++i) {
        ModuleRecord record;
        if (!read_exactly(fd, &record, sizeof record, header.modules.offset + std::uint64_t{i} * header.modules.stride))
            return;
        Module module;
        module.begin = record.begin;
        module.end = record.end;
        module.bias = record.bias;
        module.build_id.assign(reinterpret_cast<const char *>(record.build_id),
                               std::min<std::size_t>(record.build_id_bytes, sizeof record.build_id));
        module.path = bounded_string(record.path);
        snapshot.modules.push_back(std::move(module));
    }
}

template <class Number>
bool parse_number(std::string_view text, Number &number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

struct CloseDir {
    void operator()(DIR *dir) const { ::closedir(dir); }
};
using Dir = std::unique_ptr<DIR, CloseDir>;

// Whoever changes a control word is alone with it, so that nobody takes back what another has written. Not for certain:
// the file may be another user's, who may hold the lock for ever, or be where there is no such lock (over a network it
// is one with that by which the process shows that it lives).
void lock_control(int fd) {
    constexpr int kTriesToLock = 100;
    for (int i = 0; ::flock(fd, LOCK_EX | LOCK_NB) != 0; ++i) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || i == kTriesToLock) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

// The control word of the segment, as change(Control &) leaves it; an error text, empty if done.
template <class Change>
std::string write_control(const std::string &path, Change change) {
    const Opened opened = open_checked(path, O_RDWR);
    if (!opened.fd) return opened.failure.error;
    const int fd = opened.fd->get();
    lock_control(fd);
    constexpr std::uint64_t kAt = offsetof(Header, control);
    Control control;
    if (!read_exactly(fd, &control, sizeof control, kAt)) return "cannot read the control word";
    const std::uint32_t before = control.generation;
    change(control);
    const auto write = [&](std::size_t from, std::size_t to) {
        return write_exactly(fd, reinterpret_cast<const char *>(&control) + from, to - from, kAt + from);
    };
    // What is asked for before the request, and the generation last.
    if (!write(offsetof(Control, level), offsetof(Control, audit_request)) ||
        !write(offsetof(Control, hunt_key), sizeof control) ||
        !write(offsetof(Control, audit_request), offsetof(Control, hunt_key)) ||
        (control.generation != before && !write(offsetof(Control, generation), offsetof(Control, level))))
        return errno_text("cannot write", errno);
    return {};
}

}  // namespace

std::optional<FileName> FileName::parse(std::string_view name) {
    if (!name.ends_with(kSuffix)) return std::nullopt;
    name.remove_suffix(kSuffix.size());
    FileName result;
    if (const auto mark = name.find(kExecMark); mark != std::string_view::npos) {
        if (!parse_number(name.substr(mark + kExecMark.size()), result.exec) || result.exec == 0) return std::nullopt;
        name = name.substr(0, mark);
    }
    const auto dash = name.find('-');
    if (dash == std::string_view::npos || !parse_number(name.substr(0, dash), result.pid) ||
        !parse_number(name.substr(dash + 1), result.start_ticks))
        return std::nullopt;
    return result;
}

std::vector<File> find_files(const std::string &dir, std::string &error) {
    std::vector<File> files;
    std::vector<std::string> folders{dir};
    for (std::size_t i = 0; i < folders.size(); ++i) {
        const std::string folder = folders[i];
        const Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | (i > 0 ? O_NOFOLLOW : 0)));
        const Dir open_dir(fd.get() < 0 ? nullptr : ::fdopendir(::dup(fd.get())));
        if (!open_dir) {
            if (i == 0) error = "cannot read " + folder + ": " + std::strerror(errno);
            continue;
        }
        while (const dirent *entry = ::readdir(open_dir.get())) {
            const std::string_view name = entry->d_name;
            if (const auto parsed = FileName::parse(name))
                files.push_back({folder + "/" + std::string(name), *parsed});
            else if (i == 0 && name.starts_with(kRunFolderPrefix))
                folders.push_back(folder + "/" + std::string(name));
        }
    }
    std::sort(files.begin(), files.end(), [](const File &a, const File &b) { return a.path < b.path; });
    return files;
}

std::uint64_t Counters::all_incidents() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : incidents) accumulate(sum, count);
    return sum;
}

void Counters::add(const Counters &other) {
    accumulate(allocations, other.allocations);
    accumulate(frees, other.frees);
    accumulate(allocated_bytes, other.allocated_bytes);
    accumulate(freed_bytes, other.freed_bytes);
    accumulate(free_path, other.free_path);
    accumulate(header_invalid, other.header_invalid);
    accumulate(slow_path, other.slow_path);
    accumulate(mincore_calls, other.mincore_calls);
    accumulate(incidents, other.incidents);
    for (unsigned i = 0; i < kKinds; ++i)
        last_incident_ns[i] = std::max(last_incident_ns[i], other.last_incident_ns[i]);
    accumulate(incidents_dropped, other.incidents_dropped);
    accumulate(headers_audited, other.headers_audited);
    accumulate(audits, other.audits);
    accumulate(backtraces, other.backtraces);
}

std::string Snapshot::identity() const {
    return std::to_string(pid) + "-" + std::to_string(start_ticks) + "-" + std::to_string(start_time_ns);
}

ReadResult read_file(const std::string &path, Parts parts) {
    Opened opened = open_checked(path, O_RDONLY);
    if (!opened.fd) return std::move(opened.failure);
    const Header &header = opened.header;
    ReadResult result;
    Snapshot snapshot;
    const std::size_t slash = path.rfind('/');
    if (const auto name = FileName::parse(std::string_view(path).substr(slash == std::string::npos ? 0 : slash + 1)))
        snapshot.name = *name;
    else
        snapshot.name = {header.pid, header.start_ticks, 0};
    if (snapshot.name.pid != header.pid || snapshot.name.start_ticks != header.start_ticks) {
        result.error = "the file's name and its header disagree on the process";
        return result;
    }
    snapshot.pid = header.pid;
    snapshot.start_ticks = header.start_ticks;
    snapshot.start_time_ns = header.start_time_ns;
    snapshot.ended_ns = header.ended_ns;
    snapshot.alive = snapshot.name.exec == 0 && runs(header, opened.fd->get());
    snapshot.level = clamp_enum<Level>(header.level, std::size(kLevelNames));
    snapshot.version = bounded_string(header.version_text);
    snapshot.process = bounded_string(header.process);
    snapshot.exe = bounded_string(header.exe);
    std::copy(std::begin(header.slot_bytes), std::end(header.slot_bytes), snapshot.slot_bytes.begin());
    snapshot.gauges = header.gauges;
    snapshot.control = header.control;
    snapshot.control_seen = header.control_seen;
    snapshot.nudge_signal = header.nudge_signal;
    snapshot.audits_done = header.audits_done;
    snapshot.hunt_seen = header.hunt_seen;
    snapshot.hunt_armed = header.hunt_armed;
    snapshot.hunt_means = clamp_enum<HuntMeans>(header.hunt_means, std::size(kHuntMeansNames));
    snapshot.audit_corrupt = header.audit_corrupt;
    snapshot.incidents_used = std::min(header.incidents_used, header.incidents.count);
    if (!sum_shards(opened.fd->get(), header, snapshot)) {
        result.error = "cannot read the counters";
        return result;
    }
    if (parts != Parts::counters) read_modules(opened.fd->get(), header, snapshot);
    if (parts == Parts::all) read_incidents(opened.fd->get(), header, snapshot);
    if (parts == Parts::heap) read_heap(opened.fd->get(), header, snapshot);
    result.snapshot = std::move(snapshot);
    return result;
}

std::optional<std::uint64_t> process_start_ticks(std::uint64_t pid) {
    // The first thread's own: for the process's the kernel adds up the times of all of its threads.
    const std::string number = std::to_string(pid);
    const Fd fd(::open(("/proc/" + number + "/task/" + number + "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    if (fd.get() < 0) return std::nullopt;
    char text[1024];
    const ssize_t got = ::read(fd.get(), text, sizeof text);
    if (got <= 0) return std::nullopt;
    // The command name, in parentheses, may hold anything: fields count from the last ')'.
    std::string_view rest(text, static_cast<std::size_t>(got));
    const auto paren = rest.rfind(')');
    if (paren == std::string_view::npos) return std::nullopt;
    rest.remove_prefix(paren + 1);
    constexpr int kState = 3, kThreads = 20, kStartTime = 22;
    bool zombie = false;
    std::uint64_t value = 0;
    for (int field = kState; !rest.empty(); ++field) {
        rest.remove_prefix(std::min(rest.find_first_not_of(' '), rest.size()));
        const std::string_view word = rest.substr(0, rest.find(' '));
        if (field == kState) zombie = word == "Z" || word == "X";
        // A zombie with further threads is a process whose first thread has ended.
        if (field == kThreads && zombie && !(parse_number(word, value) && value > 1)) return std::nullopt;
        if (field == kStartTime) return parse_number(word, value) ? std::optional(value) : std::nullopt;
        rest.remove_prefix(word.size());
    }
    return std::nullopt;
}

bool process_alive(std::uint64_t pid, std::uint64_t start_ticks) { return process_start_ticks(pid) == start_ticks; }

std::string request_audit(const std::string &path, std::uint32_t &request) {
    return write_control(path, [&](Control &control) { request = ++control.audit_request; });
}

std::string request_hunt(const std::string &path, std::uint64_t key, std::uint32_t slot_bytes, std::uint32_t &request) {
    return write_control(path, [&](Control &control) {
        control.hunt_key = key;
        control.hunt_slot_bytes = slot_bytes;
        request = ++control.hunt_request;
        ++control.generation;
    });
}

std::string change_control(const std::string &path, const ControlChange &change, std::uint32_t &generation) {
    return write_control(path, [&](Control &control) {
        if (change.level) control.level = static_cast<std::uint32_t>(*change.level);
        if (change.on_error) control.on_error = static_cast<std::uint32_t>(*change.on_error);
        if (change.audit_interval_s) control.audit_interval_s = *change.audit_interval_s;
        if (change.sample_bytes) control.sample_bytes = *change.sample_bytes;
        generation = ++control.generation;
    });
}

}  // namespace hakmem::segment
