// hakmem inspect: one segment file in full, also after its process died.
#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/command.h"
#include "incident/describe.h"
#include "incident/json.h"
#include "process/json.h"
#include "report/report.h"
#include "symbolize/symbolizer.h"
#include "text/table.h"
#include "text/text.h"

namespace hakmem {
namespace {

struct Arguments {
    std::string file;
    bool json = false;
};

template <std::size_t N>
std::string by_name(const std::array<std::uint64_t, N> &values, const char *const (&names)[N]) {
    std::string out;
    for (std::size_t i = 0; i < N; ++i)
        out += (i > 0 ? ", " : "") + std::string(names[i]) + " " + std::to_string(values[i]);
    return out;
}

void print_facts(const segment::Snapshot &snapshot) {
    const segment::Counters &counters = snapshot.counters;
    const auto line = [](const char *name, const std::string &value) {
        std::cout << name << std::string(16 - std::string_view(name).size(), ' ') << value << '\n';
    };
    line("process", text::clean(snapshot.process) + ", pid " + std::to_string(snapshot.pid) +
                        (snapshot.alive           ? ", running"
                         : snapshot.ended_ns != 0 ? ", ended"
                                                  : ", ended without a word: killed, crashed, or left by _exit"));
    line("program", text::clean(snapshot.exe));
    line("started", text::rfc3339(snapshot.start_time_ns));
    if (snapshot.ended_ns != 0) line("ended", text::rfc3339(snapshot.ended_ns));
    line("level", segment::kLevelNames[static_cast<std::size_t>(snapshot.level)]);
    line("library", text::clean(snapshot.version));
    line("threads", std::to_string(snapshot.threads));
    line("live", text::human_bytes(counters.live_bytes()) + " of " + text::human_bytes(snapshot.gauges.mapped_bytes) +
                     " mapped, " + text::human_bytes(snapshot.cached_bytes()) + " cached");
    line("free path", by_name(counters.free_path, segment::kFreePathNames));
    line("header invalid", by_name(counters.header_invalid, segment::kHeaderInvalidNames));
    line("slow path", by_name(counters.slow_path, segment::kSlowReasonNames));
    line("mincore", by_name(counters.mincore_calls, segment::kMincoreResultNames));
    line("backtraces", by_name(counters.backtraces, segment::kBacktraceCauseNames));
    line("audits", std::to_string(counters.audits) + ", " + std::to_string(counters.headers_audited) + " headers");
    const std::string dropped = std::to_string(counters.incidents_dropped);
    line("incidents",
         std::to_string(counters.all_incidents()) +
             (counters.incidents_dropped != 0 ? ", " + dropped + " of them not recorded for want of room" : ""));
    text::Table table({{"SIZE", text::Align::right},
                       {"ALLOCATIONS", text::Align::right},
                       {"FREES", text::Align::right},
                       {"LIVE", text::Align::right}});
    for (unsigned i = 0; i < segment::kCounterRow; ++i)
        if (counters.allocations[i] != 0 || counters.frees[i] != 0)
            table.add({i == segment::kSizeClasses ? "large" : std::to_string(snapshot.slot_bytes[i]),
                       std::to_string(counters.allocations[i]), std::to_string(counters.frees[i]),
                       std::to_string(counters.live_blocks(i))});
    std::cout << '\n' << table.text();
}

int inspect(const Arguments &arguments) {
    const segment::ReadResult result = segment::read_file(arguments.file, segment::Parts::all);
    if (!result.snapshot) throw CommandError(text::clean(arguments.file) + ": " + text::clean(result.error));
    const segment::Snapshot &snapshot = *result.snapshot;
    Symbolizer symbolizer;
    if (arguments.json) {
        auto out = to_json(snapshot);
        out["incidents"] = nlohmann::ordered_json::array();
        for (const segment::Incident &raw : snapshot.incidents)
            out["incidents"].push_back(to_json(describe(raw, snapshot, symbolizer)));
        std::cout << out.dump(2) << '\n';
        return 0;
    }
    print_facts(snapshot);
    for (const segment::Incident &raw : snapshot.incidents)
        std::cout << '\n' << report(describe(raw, snapshot, symbolizer), terminal_has_colour());
    return 0;
}

}  // namespace

void add_inspect(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "inspect", "Shows one segment file, also after its process died");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("FILE", arguments->file, "A segment: PID-STARTTICKS.hakmem")->required();
    command->add_flag("--json", arguments->json, "Print JSON");
    command->callback([&line, arguments] { line.action = [arguments] { return inspect(*arguments); }; });
}

}  // namespace hakmem
