#include "commands/command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <limits>

#include "diag/options.h"
#include "diag/runtime_dir.h"
#include "log/log.h"
#include "store/store.h"
#include "text/text.h"
#include "version.h"

namespace hakmem {
namespace {

const char *environment(const char *name) {
    const char *value = std::getenv(name);
    return value != nullptr && value[0] != '\0' ? value : nullptr;
}

}  // namespace

CLI::App *add_subcommand(CLI::App &app, const char *name, const char *summary) {
    CLI::App *command = app.add_subcommand(name, summary);
    command->set_version_flag("--version", "hakmem " HAKMEM_VERSION);
    command
        ->add_option_function<std::string>(
            "--log-level",
            [](const std::string &level) {
                if (!log::set_level(level))
                    throw CLI::ValidationError("--log-level", "valid are trace, debug, info, warn, error, off");
            },
            "Least important messages that are logged to stderr: trace, debug, info, warn, error, off")
        ->type_name("LEVEL")
        ->default_str(log::kDefaultLevel);
    return command;
}

void add_pid(CLI::App &command, std::uint64_t &pid) {
    constexpr std::int64_t kMost = std::numeric_limits<pid_t>::max();
    command.add_option("PID", pid, "The process")->required()->check(CLI::Range(std::int64_t{1}, kMost));
}

std::string store_file(const std::string &given) {
    if (given.find("://") != std::string::npos)
        throw UsageError("--store takes a file, and hakmem exporter also postgresql://…");
    return given.empty() ? default_store_path() : given;
}

RuntimeDirChoice choose_runtime_dir(const std::string &option) {
    if (!option.empty()) return {option, true};
    if (const char *text = environment("HAKMEM_OPTIONS")) {
        Options options;
        parse_options(
            text, options, [](void *, const char *) {}, nullptr);  // the library warns of the rest
        if (options.runtime_dir[0] != '\0') return {options.runtime_dir, true};
    }
    if (const char *dir = environment("HAKMEM_RUNTIME_DIR")) return {dir, true};
    RuntimeDirRequest request;
    request.xdg_runtime_dir = environment("XDG_RUNTIME_DIR");
    request.uid = ::geteuid();
    const RuntimeDir dir = open_runtime_dir(request);
    if (dir.fd >= 0) ::close(dir.fd);
    return {dir.path, false};
}

std::vector<std::pair<segment::File, segment::Snapshot>> read_segments(const RuntimeDirChoice &dir,
                                                                       segment::Parts parts) {
    std::string error;
    std::vector<std::pair<segment::File, segment::Snapshot>> found;
    for (segment::File &file : segment::find_files(dir.path, error)) {
        segment::ReadResult result = segment::read_file(file.path, parts);
        if (result.snapshot)
            found.emplace_back(std::move(file), std::move(*result.snapshot));
        else if (!result.gone && !result.unfinished)
            log::warn(text::clean(file.path) + ": " + text::clean(result.error));
    }
    if (!error.empty() && dir.named) throw CommandError(error);
    return found;
}

segment::File find_process(const RuntimeDirChoice &dir, std::uint64_t pid) {
    std::string error;
    for (const segment::File &file : segment::find_files(dir.path, error)) {
        if (file.name.pid != pid || file.name.exec != 0) continue;
        if (segment::process_alive(pid, file.name.start_ticks)) return file;
        // In a container it has that number, and another one here.
        const auto result = segment::read_file(file.path, segment::Parts::counters);
        if (result.snapshot && result.snapshot->alive) return file;
    }
    throw CommandError("no running process " + std::to_string(pid) + " in " + dir.path +
                       (error.empty() ? "" : " (" + error + ")"));
}

}  // namespace hakmem
