// hakmem ps: the processes in the runtime dir.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/command.h"
#include "process/json.h"
#include "text/table.h"
#include "text/text.h"

namespace hakmem {
namespace {

struct Arguments {
    std::string runtime_dir;
    bool json = false;
};

const char *state(const segment::Snapshot &snapshot) {
    if (snapshot.alive) return "running";
    return snapshot.name.exec != 0 ? "replaced" : "ended";  // by exec: the process is there under another name
}

int show(const Arguments &arguments) {
    const RuntimeDirChoice dir = choose_runtime_dir(arguments.runtime_dir);
    const auto segments = read_segments(dir, segment::Parts::counters);
    if (arguments.json) {
        auto list = nlohmann::ordered_json::array();
        for (const auto &[file, snapshot] : segments) list.push_back(to_json(snapshot));
        std::cout << list.dump(2) << '\n';
        return 0;
    }
    if (segments.empty()) {
        std::cerr << "hakmem: no watched process in " << text::clean(dir.path)
                  << "; hakmem run -- COMMAND starts one\n";
        return 0;
    }
    text::Table table({{"PID", text::Align::right},
                       {"STATE"},
                       {"LEVEL"},
                       {"SINCE"},
                       {"LIVE", text::Align::right},
                       {"MAPPED", text::Align::right},
                       {"INCIDENTS", text::Align::right},
                       {"PROCESS"}});
    for (const auto &[file, snapshot] : segments)
        table.add({std::to_string(snapshot.pid), state(snapshot),
                   segment::kLevelNames[static_cast<std::size_t>(snapshot.level)],
                   text::rfc3339(snapshot.start_time_ns).substr(0, 19) + "Z",
                   text::human_bytes(snapshot.counters.live_bytes()), text::human_bytes(snapshot.gauges.mapped_bytes),
                   std::to_string(snapshot.counters.all_incidents()), text::clean(snapshot.process)});
    std::cout << table.text();
    return 0;
}

}  // namespace

void add_ps(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "ps", "Lists the processes that are watched");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command->add_flag("--json", arguments->json, "Print JSON");
    command->callback([&line, arguments] { line.action = [arguments] { return show(*arguments); }; });
}

}  // namespace hakmem
