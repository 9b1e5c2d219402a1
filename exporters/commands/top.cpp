// hakmem top: the watched processes live, in a terminal; one reading as a table or JSON anywhere else.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands/command.h"
#include "log/log.h"
#include "report/report.h"
#include "top/model.h"
#include "top/terminal.h"
#include "top/view.h"

namespace hakmem {
namespace {

using Clock = top::Model::Clock;
using std::chrono::milliseconds;

struct Arguments {
    std::string runtime_dir;
    double interval_s = 1;
    std::string sort = top::kSortNames[0];
    std::string filter;
    bool once = false;
    bool json = false;
};

void take(top::Model &model, const RuntimeDirChoice &dir) {
    std::vector<segment::Snapshot> processes;
    for (auto &[file, snapshot] : read_segments(dir, segment::Parts::counters))
        processes.push_back(std::move(snapshot));
    model.take(std::move(processes), Clock::now());
}

top::Sort sort_of(const std::string &name) {
    const auto found = std::find(std::begin(top::kSortNames), std::end(top::kSortNames), name);
    return static_cast<top::Sort>(found - std::begin(top::kSortNames));
}

double rounded(double rate) { return std::round(rate * 10) / 10; }

nlohmann::ordered_json to_json(const top::Row &row) {
    const segment::Snapshot &process = row.snapshot;
    return {{"pid", process.pid},
            {"process", row.process},
            {"level", segment::kLevelNames[static_cast<std::size_t>(process.level)]},
            {"alive", process.alive},
            {"threads", process.threads},
            {"live_bytes", process.counters.live_bytes()},
            {"mapped_bytes", process.gauges.mapped_bytes},
            {"incidents", row.incidents},
            {"allocations_per_second", rounded(row.allocations)},
            {"frees_per_second", rounded(row.frees)},
            {"incidents_per_second", rounded(row.new_incidents)}};
}

// Rates take two readings.
int print_once(const Arguments &arguments, const RuntimeDirChoice &dir, milliseconds interval) {
    top::Model model;
    take(model, dir);
    std::this_thread::sleep_for(interval);
    take(model, dir);
    if (arguments.json) {
        auto list = nlohmann::ordered_json::array();
        for (const top::Row *row : model.sorted(sort_of(arguments.sort), false, arguments.filter))
            list.push_back(to_json(*row));
        std::cout << list.dump(2) << '\n';
        return 0;
    }
    top::View view(model);
    view.sort_by(sort_of(arguments.sort));
    view.filter_by(arguments.filter);
    std::cout << view.table();
    return 0;
}

int show_live(const Arguments &arguments, const RuntimeDirChoice &dir, milliseconds interval) {
    top::Model model;
    top::View view(model);
    view.sort_by(sort_of(arguments.sort));
    view.filter_by(arguments.filter);
    take(model, dir);  // says what is wrong with the folder before the terminal is taken over
    log::set_level("off");
    top::Terminal terminal(terminal_has_colour());
    auto next = Clock::now() + interval;
    for (;;) {
        terminal.show(view.draw(terminal.size()));
        const auto left = std::chrono::ceil<milliseconds>(next - Clock::now());
        if (!terminal.wait(std::max(left, milliseconds{0}), view)) return 0;
        if (Clock::now() < next) continue;
        next = Clock::now() + interval;
        if (!view.paused()) take(model, dir);
    }
}

int run_top(const Arguments &arguments) {
    const RuntimeDirChoice dir = choose_runtime_dir(arguments.runtime_dir);
    const milliseconds interval{static_cast<std::int64_t>(arguments.interval_s * 1000)};
    const bool interactive = ::isatty(STDIN_FILENO) != 0 && ::isatty(STDOUT_FILENO) != 0;
    return arguments.once || arguments.json || !interactive ? print_once(arguments, dir, interval)
                                                            : show_live(arguments, dir, interval);
}

}  // namespace

void add_top(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "top", "Shows the watched processes live; keys are shown there");
    const auto arguments = std::make_shared<Arguments>();
    constexpr double kShortest = 0.1, kLongest = 3600;
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command->add_option("--interval", arguments->interval_s, "Seconds between two readings")
        ->type_name("SECONDS")
        ->check(CLI::Range(kShortest, kLongest))
        ->capture_default_str();
    command->add_option("--sort", arguments->sort, "Sort by that column")
        ->check(CLI::IsMember(std::vector<std::string>(std::begin(top::kSortNames), std::end(top::kSortNames))))
        ->capture_default_str();
    command->add_option("--filter", arguments->filter, "Only processes with that in their name, program or pid")
        ->type_name("TEXT");
    command->add_flag("--once", arguments->once, "Print one reading and end, as where the output is no terminal");
    command->add_flag("--json", arguments->json, "Print one reading as JSON");
    command->callback([&line, arguments] { line.action = [arguments] { return run_top(*arguments); }; });
}

}  // namespace hakmem
