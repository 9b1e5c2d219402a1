#include "diag/state.h"

#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "diag/hunt.h"
#include "diag/message.h"
#include "diag/nudge.h"
#include "diag/process.h"
#include "diag/runtime_dir.h"
#include "os/pages.h"
#include "os/readable.h"
#include "version.h"

namespace hakmem {

constinit State state;

namespace {

using segment::Header;
using segment::Level;
using segment::OnError;

void put_error(Text &line, int error_number) {
    if (error_number == 0) return;
    const char *description = strerrordesc_np(error_number);
    line.put(": ").put(description != nullptr ? description : "unknown error");
}

void say_no_telemetry(const char *where, const char *what, int error_number) {
    // In a fork's child the segment is still the parent's: one of all its children says it.
    if (state.segment && std::atomic_ref(state.segment.header().child_untold).exchange(1) != 0) return;
    TextBuffer<800> line;
    line.put("running without telemetry: ").put(where).put(*where != '\0' ? " " : "").put(what);
    put_error(line, error_number);
    print_line(line.c_str());
}

template <std::size_t Size>
void copy_text(char (&out)[Size], const char *text) {
    Text(out, Size).put(text);
}

// The shared segment where there is a runtime directory, else the private one.
void make_segment(RuntimeDir directory, std::uint64_t ticks) {
    unsigned char *where = state.segment.base;
    Segment segment;
    if (directory.fd >= 0) {
        SegmentError error;
        segment = create_shared_segment(directory.fd, {getpid(), ticks}, where, error);
        close(directory.fd);
        if (error.what != nullptr) say_no_telemetry(directory.path, error.what, error.error_number);
    } else if (directory.error != nullptr) {
        say_no_telemetry(directory.path, directory.error, directory.error_number);
    }
    // Where it failed it isn't tried again with every fork of this process.
    copy_text(state.runtime_dir, segment ? directory.path : "");
    state.segment = segment ? segment : create_private_segment(where);
}

void fill_identity(Header &header, std::uint64_t ticks) {
    header.pid = static_cast<std::uint64_t>(getpid());
    header.start_ticks = ticks;
    header.pid_namespace = process::pid_namespace();
    header.start_time_ns = process::realtime_ns();
}

void fill_control(Header &header) {
    header.control.level = static_cast<std::uint32_t>(state.level.load());
    header.control.on_error = static_cast<std::uint32_t>(state.on_error.load());
    header.control.audit_interval_s = state.audit_interval_s.load();
    header.control.sample_bytes = state.sample_bytes.load();
    header.level = header.control.level;
    header.nudge_signal = nudge::signal_number();
    state.control_seen = 0;
}

void start_records() {
    for (auto &descriptor : state.thread_descriptors) {
        if (descriptor.load(std::memory_order_relaxed) != 0) descriptor.store(0, std::memory_order_relaxed);
    }
    state.shards.start(state.segment.header(), state.segment.shards(), kShards, prepare_memory);
    state.incidents.start(state.segment);
}

void start_tables() {
    state.modules.start(state.segment.modules(), &state.segment.header().modules_used);
    state.stacks.start(state.segment);
}

}  // namespace

void start_state(const SlotBytes &slot_bytes) {
    state.options = {};
    const bool secure = process::is_secure();
    char **environment = secure ? nullptr : process::environment();
    if (const char *text = process::variable(environment, "HAKMEM_OPTIONS")) {
        parse_options(text, state.options, print_line, nullptr);
    }
    if (state.options.help) {
        print_line("HAKMEM_OPTIONS=key=value:key=value...");
        describe_options(print_line, nullptr);
    }
    state.level = state.options.level;
    state.on_error = state.options.on_error;
    state.sample_bytes = state.options.sample_bytes;
    state.audit_interval_s = state.options.audit_interval_s;
    state.changes = 1;

    RuntimeDir directory;
    if (!secure) {
        directory = open_runtime_dir({.option = state.options.runtime_dir,
                                      .environment = process::variable(environment, "HAKMEM_RUNTIME_DIR"),
                                      .xdg_runtime_dir = process::variable(environment, "XDG_RUNTIME_DIR"),
                                      .uid = geteuid()});
    }
    const std::uint64_t ticks = process::start_ticks();
    make_segment(directory, ticks);
    // A fork's child is not to be found then; what is started by exec has no library (probe.cpp).
    if (!process::watches_children(environment)) copy_text(state.runtime_dir, "");
    if (!state.segment) return;

    Header &header = state.segment.header();
    fill_identity(header, ticks);
    fill_control(header);
    std::memcpy(header.slot_bytes, slot_bytes, sizeof header.slot_bytes);
    copy_text(header.version_text, HAKMEM_VERSION);
    process::executable(header.exe, sizeof header.exe);
    const char *label = process::variable(environment, "HAKMEM_PROCESS");
    copy_text(header.process,
              label != nullptr && *label != '\0' ? label : process::name(process::called_as(), header.exe));
    start_records();
    start_tables();
    publish_segment(state.segment);
}

// What a fork's child takes over from its parent's segment before its own takes that one's place: notes of blocks name
// stacks by number, and stacks name modules.
class Inheritance {
  public:
    Inheritance()
        : module_bytes_(state.modules.count() * sizeof(segment::ModuleRecord)),
          stack_bytes_(state.stacks.used() > 1 ? state.stacks.used() * sizeof(segment::StackRecord) : 0) {
        if (stack_bytes_ == 0) return;
        copy_ = static_cast<unsigned char *>(os::map(module_bytes_ + stack_bytes_));
        if (copy_ == nullptr) return;
        copy(copy_, state.segment.modules(), module_bytes_);
        copy(copy_ + module_bytes_, state.segment.stacks(), stack_bytes_);
    }
    ~Inheritance() {
        if (copy_ != nullptr) os::unmap(copy_, module_bytes_ + stack_bytes_);
    }
    Inheritance(const Inheritance &) = delete;
    Inheritance &operator=(const Inheritance &) = delete;

    // Into the new segment. Where there is nothing to take over, or no memory for it, the tables start empty.
    void hand_over() {
        Segment &segment = state.segment;
        if (copy_ != nullptr && prepare_memory(segment.modules(), module_bytes_) &&
            prepare_memory(segment.stacks(), stack_bytes_)) {
            std::memcpy(static_cast<void *>(segment.modules()), copy_, module_bytes_);
            std::memcpy(static_cast<void *>(segment.stacks()), copy_ + module_bytes_, stack_bytes_);
            state.modules.carry_over(segment.modules(), &segment.header().modules_used);
            state.stacks.carry_over(segment);
        } else {
            start_tables();
        }
    }

  private:
    // Where the disk is full, a record whose place was never written can't be read either: it stays empty here.
    static void copy(unsigned char *to, const void *from, std::size_t bytes) {
        const auto begin = reinterpret_cast<std::uintptr_t>(from);
        if (os::safe_read(begin, to, bytes)) return;
        for (std::size_t at = 0; at < bytes; at += kPieceBytes)
            os::safe_read(begin + at, to + at, std::min(kPieceBytes, bytes - at));
    }
    static constexpr std::size_t kPieceBytes = 256;

    std::size_t module_bytes_;
    std::size_t stack_bytes_;
    unsigned char *copy_ = nullptr;
};

void restart_state_after_fork() {
    if (!state.segment) return;
    const Header inherited = state.segment.header();
    Inheritance inheritance;
    RuntimeDir directory;
    if (*state.runtime_dir != '\0') directory = reopen_runtime_dir(state.runtime_dir, geteuid());
    const std::uint64_t ticks = process::start_ticks();
    make_segment(directory, ticks);
    if (!state.segment) {
        state.shards = {};
        return;
    }
    Header &header = state.segment.header();
    fill_identity(header, ticks);
    fill_control(header);
    header.gauges = inherited.gauges;
    std::memcpy(header.slot_bytes, inherited.slot_bytes, sizeof header.slot_bytes);
    std::memcpy(header.version_text, inherited.version_text, sizeof header.version_text);
    std::memcpy(header.exe, inherited.exe, sizeof header.exe);
    std::memcpy(header.process, inherited.process, sizeof header.process);
    start_records();
    inheritance.hand_over();
    publish_segment(state.segment);
}

namespace {

void follow_control(Header &header) {
    const std::uint32_t level = std::atomic_ref(header.control.level).load(std::memory_order_relaxed);
    const std::uint32_t on_error = std::atomic_ref(header.control.on_error).load(std::memory_order_relaxed);
    if (level <= static_cast<std::uint32_t>(Level::guard)) {
        state.level = Level{level};
        std::atomic_ref(header.level).store(level, std::memory_order_relaxed);
    }
    if (on_error <= static_cast<std::uint32_t>(OnError::stop)) state.on_error = OnError{on_error};
    const std::uint64_t sample_bytes = std::atomic_ref(header.control.sample_bytes).load(std::memory_order_relaxed);
    if (sample_bytes != 0) state.sample_bytes = sample_bytes;
    state.audit_interval_s = std::atomic_ref(header.control.audit_interval_s).load(std::memory_order_relaxed);
    state.changes.fetch_add(1, std::memory_order_release);
    const std::uint32_t request = std::atomic_ref(header.control.hunt_request).load(std::memory_order_relaxed);
    if (request != header.hunt_seen) {
        if (hunt.arm(header.control.hunt_key, header.control.hunt_slot_bytes))
            std::atomic_ref(header.hunt_armed).store(request, std::memory_order_relaxed);
        std::atomic_ref(header.hunt_seen).store(request, std::memory_order_relaxed);
    }
}

}  // namespace

// tests/protocols/control.pml is a model of this.
void obey_control() {
    Header &header = state.segment.header();
    const std::uint32_t generation = std::atomic_ref(header.control.generation).load(std::memory_order_acquire);
    std::uint32_t seen = state.control_seen.load(std::memory_order_relaxed);
    if (generation == seen || !state.control_seen.compare_exchange_strong(seen, generation)) return;
    // Another thread may have followed a later change while this one was on its way: what this one read before that
    // must not be the last word.
    for (std::uint32_t followed = generation;; followed = seen) {
        follow_control(header);
        std::atomic_ref(header.control_seen).store(followed, std::memory_order_release);
        seen = state.control_seen.load();
        if (seen == followed) return;
    }
}

}  // namespace hakmem
