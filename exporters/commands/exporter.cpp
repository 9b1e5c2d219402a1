// hakmem exporter: serves every process of the runtime dir until it is told to end.
#include <pthread.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <climits>
#include <csignal>
#include <iostream>

#include "commands/command.h"
#include "log/log.h"
#include "prometheus/exposition.h"
#include "service/service.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::size_t kDefaultMaxSeries = 50'000;

struct Arguments {
    std::string listen = "127.0.0.1:9765";
    std::string runtime_dir;
    std::string store;
    unsigned retention_days = 30;
    bool label_pid = false;
    std::size_t max_series = kDefaultMaxSeries;
    std::string web_config;
    std::vector<std::string> sinks;
    std::string host;
};

std::string host_name(const std::string &given) {
    if (!given.empty()) return text::clean(given);
    char name[HOST_NAME_MAX + 1] = {};
    ::gethostname(name, sizeof name - 1);
    return text::clean(name);
}

int serve(const Arguments &arguments) {
    // Before any thread is made, so that all of them leave the signals to us.
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    std::signal(SIGPIPE, SIG_IGN);

    ServiceOptions options;
    options.sinks = arguments.sinks;
    options.listen.emplace();
    if (!ListenAddress::parse(arguments.listen, *options.listen))
        throw UsageError("--listen takes HOST:PORT, not " + arguments.listen);
    if (!arguments.web_config.empty()) {
        std::string error;
        const auto config = WebConfig::load(arguments.web_config, error);
        if (!config) throw CommandError(error);
        options.web = *config;
    }
    const RuntimeDirChoice dir = choose_runtime_dir(arguments.runtime_dir);
    std::string error;
    segment::find_files(dir.path, error);
    if (!error.empty()) log::warn(error);  // it may come to be later
    options.collector.runtime_dir = dir.path;
    options.collector.by_pid = arguments.label_pid;
    options.collector.delete_ended = true;
    options.collector.max_groups = groups_within(arguments.max_series, arguments.label_pid);
    const bool fleet = is_postgres_url(arguments.store);
    options.store_path = store_file(fleet ? "" : arguments.store);
    if (fleet) {
        if (!can_read_postgres_url(arguments.store)) throw UsageError(std::string("--store ") + kUnreadableUrl);
        options.fleet_url = arguments.store;
        // This host's own incidents go there by the usual way, over its store.
        options.sinks.push_back(arguments.store);
    }
    options.retention_days = arguments.retention_days;
    options.host = host_name(arguments.host);

    Service *service = nullptr;  // never destroyed: see service.h
    try {
        service = new Service(options);
    } catch (const std::invalid_argument &wrong) {
        throw UsageError(wrong.what());
    }
    service->start();
    std::cerr << "hakmem: serving " << service->url() << std::endl;
    int signal = 0;
    sigwait(&signals, &signal);
    service->finish();
    return 0;
}

}  // namespace

void add_exporter(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "exporter", "Serves every process found in the runtime dir");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("--listen", arguments->listen, "Where to serve; port 0 takes a free one")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    command->add_option("--runtime-dir", arguments->runtime_dir, "Where the segments are")->type_name("DIR");
    command
        ->add_option("--store", arguments->store,
                     "The incident store; the URL of a fleet's PostgreSQL shows the incidents of all hosts")
        ->type_name("FILE|URL")
        ->default_str(default_store_path());
    command->add_option("--retention", arguments->retention_days, "Days that incidents are kept; 0: for ever")
        ->type_name("DAYS")
        ->check(CLI::Range(0U, 36'500U))
        ->capture_default_str();
    command->add_flag("--label-pid", arguments->label_pid, "Give every series of a process the label pid");
    command
        ->add_option("--max-series", arguments->max_series,
                     "The most series of a scrape; processes beyond are summed as process=\"other\"")
        ->type_name("N")
        ->check(CLI::Range(std::size_t{1'000}, std::size_t{10'000'000}))
        ->capture_default_str();
    command->add_option("--web-config", arguments->web_config, "TLS and basic auth, as in Prometheus's web config")
        ->type_name("FILE");
    command
        ->add_option("--sink", arguments->sinks,
                     "Forward incidents there: postgresql://… or otlp+http://… (repeatable)")
        ->type_name("URL")
        ->expected(1)
        ->take_all();
    command->add_option("--host", arguments->host, "What this host is called there; default: its host name")
        ->type_name("NAME");
    command->callback([&line, arguments] { line.action = [arguments] { return serve(*arguments); }; });
}

}  // namespace hakmem
