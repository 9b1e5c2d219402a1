// hakmem audit: has a running process check every header of its heap now.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "commands/command.h"
#include "process/nudge.h"

namespace hakmem {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kPatience{300};

struct Arguments {
    std::uint64_t pid = 0;
    unsigned timeout_s = 60;
    std::string runtime_dir;
    bool json = false;
};

segment::Snapshot read(const segment::File &file) {
    auto result = segment::read_file(file.path, segment::Parts::counters);
    if (!result.snapshot) throw CommandError(file.path + ": " + result.error);
    return std::move(*result.snapshot);
}

// The process answers all requests that there are with one audit: a later one's answer is ours as well.
bool is_answered(const segment::Snapshot &snapshot, std::uint32_t request) {
    return static_cast<std::int32_t>(snapshot.audits_done - request) >= 0;
}

int audit(const Arguments &arguments) {
    const segment::File file = find_process(choose_runtime_dir(arguments.runtime_dir), arguments.pid);
    const segment::Snapshot before = read(file);
    std::uint32_t request = 0;
    if (const std::string error = segment::request_audit(file.path, request); !error.empty())
        throw CommandError(file.path + ": " + error);
    const auto start = Clock::now();
    segment::Snapshot after = read(file);
    for (bool said = false, nudged = false; !is_answered(after, request); after = read(file)) {
        const auto waited = Clock::now() - start;
        // A program at work does it by itself; one that sleeps is woken up for it.
        if (!nudged && waited > kPatience) {
            nudged = true;
            nudge(after);
        }
        if (!after.alive) throw CommandError("process " + std::to_string(arguments.pid) + " has ended meanwhile");
        if (waited > std::chrono::seconds(arguments.timeout_s))
            throw CommandError("process " + std::to_string(arguments.pid) + " has not answered within " +
                               std::to_string(arguments.timeout_s) + " s");
        if (!said && waited > std::chrono::seconds(1)) {
            said = true;
            std::cerr << "hakmem: waiting for process " << arguments.pid << '\n';
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    const std::uint64_t headers = after.counters.headers_audited - before.counters.headers_audited;
    const std::uint32_t corrupt = after.audit_corrupt - before.audit_corrupt;
    if (arguments.json) {
        std::cout << nlohmann::ordered_json{{"pid", arguments.pid},
                                            {"headers", headers},
                                            {"corrupt", corrupt},
                                            {"seconds", seconds}}
                         .dump(2)
                  << '\n';
    } else {
        std::cout << headers << " headers checked in " << seconds << " s, " << corrupt << " corrupt\n";
        if (corrupt != 0) std::cout << "see: hakmem incidents list, or hakmem inspect " << file.path << '\n';
    }
    return corrupt == 0 ? 0 : kExitIncident;
}

}  // namespace

void add_audit(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "audit", "Checks every block header of a process now");
    const auto arguments = std::make_shared<Arguments>();
    add_pid(*command, arguments->pid);
    command->add_option("--timeout", arguments->timeout_s, "Seconds to wait for its answer")->capture_default_str();
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command->add_flag("--json", arguments->json, "Print JSON");
    command->footer(
        "Exit status: 0 clean, 86 corrupt.\n"
        "A process whose threads all sleep is sent SIGURG, which may end one sleeping system call early (EINTR).");
    command->callback([&line, arguments] { line.action = [arguments] { return audit(*arguments); }; });
}

}  // namespace hakmem
