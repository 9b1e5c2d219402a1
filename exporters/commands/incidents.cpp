// hakmem incidents list and show: what is in the incident store.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/command.h"
#include "incident/json.h"
#include "incident/site.h"
#include "report/report.h"
#include "sarif/sarif.h"
#include "store/store.h"
#include "text/table.h"
#include "text/text.h"

namespace hakmem {
namespace {

struct Arguments {
    std::string store;
    std::string id;
    std::uint64_t limit = 100;
    std::string process, kind, fingerprint, since;
    bool json = false;
    bool sarif = false;
};

// The store; null if there is none at the default place, for then nothing was ever recorded.
std::unique_ptr<Store> open(const Arguments &arguments) {
    const std::string path = store_file(arguments.store);
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0 && errno == ENOENT) {
        if (arguments.store.empty()) return nullptr;
        throw CommandError("no incident store at " + path);
    }
    return std::make_unique<Store>(path, Store::Mode::existing);
}

IncidentFilter filter_of(const Arguments &arguments) {
    IncidentFilter filter;
    if (!arguments.process.empty()) filter.process = arguments.process;
    if (!arguments.kind.empty()) filter.kind = arguments.kind;
    if (!arguments.fingerprint.empty()) filter.fingerprint = arguments.fingerprint;
    if (!arguments.since.empty()) {
        filter.since_ns = text::parse_time(arguments.since);
        if (!filter.since_ns) throw UsageError("--since takes an RFC 3339 time or seconds since the epoch");
    }
    filter.limit = arguments.limit;
    return filter;
}

// Paths in the answer are relative to where the command runs: in CI, where the sources are checked out.
int print_sarif(const std::vector<std::string> &rows) {
    std::vector<Incident> incidents;
    for (const std::string &row : rows)
        if (auto incident = incident_from_json(row)) incidents.push_back(std::move(*incident));
    std::cout << sarif(incidents, std::filesystem::current_path().string()).dump(2) << '\n';
    return 0;
}

int list(const Arguments &arguments) {
    const IncidentFilter filter = filter_of(arguments);
    const auto store = open(arguments);
    const std::vector<std::string> rows = store ? store->list(filter) : std::vector<std::string>();
    if (arguments.sarif) return print_sarif(rows);
    if (arguments.json) {
        auto all = nlohmann::ordered_json::array();
        for (const std::string &row : rows) all.push_back(nlohmann::ordered_json::parse(row));
        std::cout << all.dump(2) << '\n';
        return 0;
    }
    text::Table table({{"ID"},
                       {"LAST SEEN"},
                       {"KIND"},
                       {"COUNT", text::Align::right},
                       {"PROCESS"},
                       {"PID", text::Align::right},
                       {"FINGERPRINT"},
                       {"WHERE"}});
    for (const std::string &row : rows)
        if (const auto incident = incident_from_json(row))
            table.add({text::clean(incident->id), text::rfc3339(incident->last_ns).substr(0, 19) + "Z",
                       segment::kKindNames[static_cast<std::size_t>(incident->kind)], std::to_string(incident->count),
                       text::clean(incident->process), std::to_string(incident->pid),
                       text::clean(incident->fingerprint), site(*incident)});
    std::cout << table.text();
    return 0;
}

int show(const Arguments &arguments) {
    const auto store = open(arguments);
    int matches = 0;
    const auto found = store ? store->find(arguments.id, matches) : std::nullopt;
    if (!found)
        throw CommandError(matches > 1 ? "more than one incident's id begins with " + text::clean(arguments.id)
                                       : "no incident " + text::clean(arguments.id));
    if (arguments.sarif) return print_sarif({*found});
    if (arguments.json) {
        std::cout << nlohmann::ordered_json::parse(*found).dump(2) << '\n';
        return 0;
    }
    const auto incident = incident_from_json(*found);
    if (!incident) throw CommandError("incident " + text::clean(arguments.id) + " is damaged in the store");
    std::cout << report(*incident, terminal_has_colour());
    return 0;
}

void add_common(CLI::App *command, const std::shared_ptr<Arguments> &arguments) {
    command->add_option("--store", arguments->store, "The incident store")
        ->type_name("FILE")
        ->default_str(default_store_path());
    CLI::Option *json = command->add_flag("--json", arguments->json, "Print JSON");
    command
        ->add_flag("--sarif", arguments->sarif, "Print SARIF 2.1.0, for code scanning; sources relative to the folder")
        ->excludes(json);
}

}  // namespace

void add_incidents(CommandLine &line) {
    CLI::App *incidents = add_subcommand(line.app, "incidents", "Lists and shows recorded incidents");
    incidents->require_subcommand(1);
    const auto arguments = std::make_shared<Arguments>();

    CLI::App *list_command = add_subcommand(*incidents, "list", "Lists incidents, newest first");
    add_common(list_command, arguments);
    constexpr std::uint64_t kMaxLimit = 1'000'000;
    list_command->add_option("--limit", arguments->limit, "At most that many")
        ->check(CLI::Range(std::uint64_t{1}, kMaxLimit))
        ->capture_default_str();
    list_command->add_option("--process", arguments->process, "Only of processes of that name");
    list_command->add_option("--kind", arguments->kind, "Only of that kind")
        ->check(
            CLI::IsMember(std::vector<std::string>(std::begin(segment::kKindNames), std::end(segment::kKindNames))));
    list_command->add_option("--fingerprint", arguments->fingerprint, "Only with that fingerprint");
    list_command->add_option("--since", arguments->since, "Only seen since then")->type_name("TIME");
    list_command->callback([&line, arguments] { line.action = [arguments] { return list(*arguments); }; });

    CLI::App *show_command = add_subcommand(*incidents, "show", "Shows one incident");
    add_common(show_command, arguments);
    show_command->add_option("ID", arguments->id, "The incident's id, or how it begins")->required();
    show_command->callback([&line, arguments] { line.action = [arguments] { return show(*arguments); }; });
}

}  // namespace hakmem
