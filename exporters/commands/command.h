// What the subcommands share: exit statuses, how each is added to the command line, and where they find segments. One
// file a subcommand implements its add_* function.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "segment/reader.h"

namespace CLI {
class App;
}

namespace hakmem {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitIncident = 86;  // found what it was asked to look for
inline constexpr int kExitFailure = 125;  // hakmem itself could not do it
inline constexpr int kExitSignal = 128;   // plus the signal's number

// Thrown by a subcommand that cannot do what it was asked to; what() goes to stderr and the status is kExitFailure.
class CommandError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// Thrown for wrong usage that the option parser cannot see; the status is kExitUsage.
class UsageError : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The file of a --store, which may be left out. Throws UsageError where a URL is given.
std::string store_file(const std::string &given);

// The command line as it is being put together. The parsed subcommand's callback sets `action`.
struct CommandLine {
    CLI::App &app;
    std::function<int()> action;
    std::vector<std::string> command;  // what stands behind `--`
};

inline constexpr const char *kSummary =
    "Tells who corrupted the heap: runs programs under the diagnostic allocator and shows what it found.";

// Everything below at once: the command line that main() parses and that the reference is made from.
void add_all(CommandLine &line);

void add_run(CommandLine &line);
void add_exporter(CommandLine &line);
void add_incidents(CommandLine &line);
void add_ps(CommandLine &line);
void add_inspect(CommandLine &line);
void add_options(CommandLine &line);
void add_set(CommandLine &line);
void add_audit(CommandLine &line);
void add_top(CommandLine &line);
void add_hunt(CommandLine &line);

// A subcommand with the options that each has.
CLI::App *add_subcommand(CLI::App &app, const char *name, const char *summary);
// Its argument PID.
void add_pid(CLI::App &command, std::uint64_t &pid);

// The runtime dir by INTERFACE's order: the option, HAKMEM_OPTIONS' runtime_dir, HAKMEM_RUNTIME_DIR, the defaults. Only
// chosen, not made.
struct RuntimeDirChoice {
    std::string path;
    bool named = false;  // the user named it; otherwise it is a default
};
RuntimeDirChoice choose_runtime_dir(const std::string &option);

// The segments in a runtime dir. Throws CommandError if a named dir cannot be read; those that cannot be read are
// warned about.
std::vector<std::pair<segment::File, segment::Snapshot>> read_segments(const RuntimeDirChoice &dir,
                                                                       segment::Parts parts);
// The segment of a running process. Throws CommandError if there is none.
segment::File find_process(const RuntimeDirChoice &dir, std::uint64_t pid);

}  // namespace hakmem
