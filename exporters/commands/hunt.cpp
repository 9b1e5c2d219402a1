// hakmem hunt: arms the hunt for the writer behind an incident, in the running process.
//
// A fingerprint is made of symbols, which the library in the process does not know. So the incident is looked for in
// the process's own segment, and its key there is what goes into the control word; an incident that only the store
// knows, of an earlier run, gives the size of the block alone.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "commands/command.h"
#include "incident/describe.h"
#include "incident/json.h"
#include "store/store.h"
#include "symbolize/symbolizer.h"

namespace hakmem {
namespace {

constexpr std::chrono::milliseconds kWait{500}, kPoll{5};

struct Arguments {
    std::uint64_t pid = 0;
    std::string fingerprint;
    std::string runtime_dir;
    std::string store;
};

// What the process is told.
struct Prey {
    std::uint64_t key = 0;
    std::uint64_t slot_bytes = 0;
};

template <class Found>
std::uint64_t slot_of(const Found &incident) {
    using segment::Kind;
    if (incident.kind != Kind::header_overwritten && incident.kind != Kind::redzone_overwritten &&
        incident.kind != Kind::header_write_caught)
        throw CommandError("a hunt is for overwritten headers and redzones, not for " +
                           std::string(segment::kKindNames[static_cast<std::size_t>(incident.kind)]));
    return incident.suspect ? incident.suspect->slot_bytes : incident.slot_bytes;
}

std::optional<Prey> in_process(const segment::Snapshot &snapshot, const std::string &fingerprint) {
    Symbolizer symbolizer;
    for (const segment::Incident &raw : snapshot.incidents)
        if (describe(raw, snapshot, symbolizer).fingerprint == fingerprint) return Prey{raw.key, slot_of(raw)};
    return std::nullopt;
}

std::optional<Prey> in_store(const std::string &path, const std::string &fingerprint) {
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return std::nullopt;
    Store store(path, Store::Mode::existing);
    IncidentFilter filter;
    filter.fingerprint = fingerprint;
    for (const std::string &row : store.list(filter))
        if (const auto incident = incident_from_json(row)) return Prey{0, slot_of(*incident)};
    return std::nullopt;
}

segment::Snapshot read(const segment::File &file, segment::Parts parts) {
    auto result = segment::read_file(file.path, parts);
    if (!result.snapshot) throw CommandError(file.path + ": " + result.error);
    return std::move(*result.snapshot);
}

int hunt(const Arguments &arguments) {
    const segment::File file = find_process(choose_runtime_dir(arguments.runtime_dir), arguments.pid);
    auto prey = in_process(read(file, segment::Parts::all), arguments.fingerprint);
    if (!prey) prey = in_store(arguments.store, arguments.fingerprint);
    if (!prey)
        throw CommandError("no incident with the fingerprint " + arguments.fingerprint + " in process " +
                           std::to_string(arguments.pid) + " or in " + arguments.store);
    std::uint32_t request = 0;
    if (const std::string error =
            segment::request_hunt(file.path, prey->key, static_cast<std::uint32_t>(prey->slot_bytes), request);
        !error.empty())
        throw CommandError(file.path + ": " + error);
    const auto deadline = std::chrono::steady_clock::now() + kWait;
    do {
        const segment::Snapshot snapshot = read(file, segment::Parts::counters);
        if (snapshot.hunt_seen != request) {
            std::this_thread::sleep_for(kPoll);
            continue;
        }
        if (snapshot.hunt_armed != request)
            throw CommandError("nothing to hunt: the incident's block is not one of the small ones");
        std::cout << "armed, by "
                  << (snapshot.hunt_means == segment::HuntMeans::watchpoints
                          ? "watchpoints"
                          : "guard pages (the kernel gives no watchpoints)")
                  << "; the writer will be an incident of kind header_write_caught\n";
        return 0;
    } while (std::chrono::steady_clock::now() < deadline);
    std::cerr << "hakmem: process " << arguments.pid
              << " sleeps, or does not allocate: it takes the hunt up when it next does\n";
    return 0;
}

}  // namespace

void add_hunt(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "hunt", "Arms the hunt for the writer behind an incident");
    const auto arguments = std::make_shared<Arguments>();
    add_pid(*command, arguments->pid);
    command->add_option("FINGERPRINT", arguments->fingerprint, "The incident's fingerprint")->required();
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command->add_option("--store", arguments->store, "Where incidents of earlier runs are")
        ->type_name("FILE")
        ->default_val(default_store_path());
    command->callback([&line, arguments] { line.action = [arguments] { return hunt(*arguments); }; });
}

}  // namespace hakmem
