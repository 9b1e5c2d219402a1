// hakmem set: changes options of a running process by the control word of its segment.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <iostream>
#include <thread>

#include "commands/command.h"
#include "diag/options.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::chrono::milliseconds kWait{200}, kPoll{5};
constexpr const char *kKeys = "level, on_error, sample_bytes, audit_interval";

struct Arguments {
    std::uint64_t pid = 0;
    std::vector<std::string> pairs;
    std::string runtime_dir;
};

// Reads KEY=VALUE by the library's own table, so that both accept the same.
void parse(const std::string &pair, segment::ControlChange &change) {
    const auto equals = pair.find('=');
    if (equals == std::string::npos) throw UsageError("not KEY=VALUE: " + pair);
    const std::string key = pair.substr(0, equals), value = pair.substr(equals + 1);
    Options options;
    std::string problem;
    const auto keep = [](void *to, const char *line) { *static_cast<std::string *>(to) = line; };
    const std::span<const Option> table = option_table();
    if (std::none_of(table.begin(), table.end(), [&](const Option &option) { return key == option.key; }))
        throw UsageError("unknown option '" + text::clean(key) + "'; valid: " + kKeys);
    if (key != "level" && key != "on_error" && key != "sample_bytes" && key != "audit_interval")
        throw UsageError("cannot be changed while a process runs: " + key + "; valid: " + kKeys);
    if (!parse_option(key.c_str(), value.c_str(), options, keep, &problem)) throw UsageError(problem);
    if (key == "level") change.level = options.level;
    if (key == "on_error") change.on_error = options.on_error;
    if (key == "sample_bytes") change.sample_bytes = options.sample_bytes;
    if (key == "audit_interval") change.audit_interval_s = options.audit_interval_s;
}

int change_process(const Arguments &arguments) {
    segment::ControlChange change;
    for (const std::string &pair : arguments.pairs) parse(pair, change);
    const segment::File file = find_process(choose_runtime_dir(arguments.runtime_dir), arguments.pid);
    std::uint32_t generation = 0;
    if (const std::string error = segment::change_control(file.path, change, generation); !error.empty())
        throw CommandError(file.path + ": " + error);
    const auto deadline = std::chrono::steady_clock::now() + kWait;
    do {
        const auto result = segment::read_file(file.path, segment::Parts::counters);
        // This change, or already a later one.
        if (result.snapshot && static_cast<std::int32_t>(result.snapshot->control_seen - generation) >= 0) return 0;
        std::this_thread::sleep_for(kPoll);
    } while (std::chrono::steady_clock::now() < deadline);
    std::cerr << "hakmem: process " << arguments.pid
              << " sleeps, or does not allocate: it takes the change up when it next does\n";
    return 0;
}

}  // namespace

void add_set(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "set", "Changes options of a running process");
    const auto arguments = std::make_shared<Arguments>();
    add_pid(*command, arguments->pid);
    command->add_option("KEY=VALUE", arguments->pairs, std::string("What to change; keys: ") + kKeys)
        ->required()
        ->take_all();
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command->callback([&line, arguments] { line.action = [arguments] { return change_process(*arguments); }; });
}

}  // namespace hakmem
