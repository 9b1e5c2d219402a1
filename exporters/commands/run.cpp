// hakmem run: runs a command with the diagnostic allocator preloaded and an exporter beside it.
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <iostream>

#include "commands/command.h"
#include "commands/launch.h"
#include "commands/preloadable.h"
#include "diag/runtime_dir.h"
#include "log/log.h"
#include "service/service.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr int kForwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

struct Arguments {
    std::string level;
    std::string listen = "127.0.0.1:9765";
    bool no_exporter = false;
    bool production = false;
    std::vector<std::string> options;
    std::string store;
    std::string runtime_dir;
    bool fail_on_incident = false;
    std::string children = "all";
};

// Where this run's segments go. Unless the user named a dir, a private folder in the default one: the summary and the
// exporter are then about this run's processes alone.
struct RunDir {
    std::string path;  // empty: none can be made, the command runs without telemetry
    bool is_private = false;
};

RunDir make_run_dir(const std::string &option) {
    const RuntimeDirChoice choice = choose_runtime_dir(option);
    const RuntimeDir base = reopen_runtime_dir(choice.path.c_str(), ::geteuid());
    if (base.fd < 0) {
        log::warn("runtime dir " + text::clean(choice.path) + " " + base.error +
                  (base.error_number != 0 ? std::string(": ") + std::strerror(base.error_number) : "") +
                  "; running without telemetry");
        return {choice.named ? choice.path : "", false};
    }
    RunDir dir{base.path, false};
    if (!choice.named) {
        const auto pid = static_cast<std::uint64_t>(::getpid());
        const std::string name = std::string(segment::kRunFolderPrefix) + std::to_string(pid) + "-" +
                                 std::to_string(segment::process_start_ticks(pid).value_or(0));
        if (::mkdirat(base.fd, name.c_str(), 0700) == 0) dir = {dir.path + "/" + name, true};
    }
    ::close(base.fd);
    return dir;
}

void remove_run_dir(const RunDir &dir) {
    if (!dir.is_private) return;
    std::string error;
    for (const segment::File &file : segment::find_files(dir.path, error))
        if (file.name.exec != 0 || !segment::process_alive(file.name.pid, file.name.start_ticks))
            ::unlink(file.path.c_str());
    ::rmdir(dir.path.c_str());  // stays while a child that outlives the command needs it
}

std::vector<std::string> inherited_environment() {
    std::vector<std::string> all;
    for (char **entry = environ; *entry != nullptr; ++entry) all.emplace_back(*entry);
    return all;
}

std::vector<char *> pointers(const std::vector<std::string> &strings) {
    std::vector<char *> out;
    for (const std::string &string : strings) out.push_back(const_cast<char *>(string.c_str()));
    out.push_back(nullptr);
    return out;
}

pid_t start(const std::vector<std::string> &command, const std::vector<std::string> &environment,
            const sigset_t &signal_mask) {
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &signal_mask);
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);  // we ignore it, the command need not
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    pid_t pid = -1;
    const int error = ::posix_spawnp(&pid, command.front().c_str(), nullptr, &attributes, pointers(command).data(),
                                     pointers(environment).data());
    posix_spawnattr_destroy(&attributes);
    if (error != 0) throw CommandError("cannot run " + text::clean(command.front()) + ": " + std::strerror(error));
    return pid;
}

void say_if_unwatched(const std::string &command) {
    if (const std::string why = why_not_preloaded(command); !why.empty())
        std::cerr << "hakmem run: " << why << ": nothing can be preloaded into it, only what it starts is watched"
                  << std::endl;
}

// Waits for the command and passes signals on to it. Returns its exit status, 128+N where signal N ended it.
int wait_for(pid_t pid, const sigset_t &signals) {
    for (;;) {
        siginfo_t info{};
        const int signal = ::sigwaitinfo(&signals, &info);
        if (signal < 0) continue;
        if (signal != SIGCHLD) {
            // What the terminal sends (Ctrl-C) the command has got already: it is in the same process group.
            if (info.si_code != SI_KERNEL) ::kill(pid, signal);
            continue;
        }
        int status = 0;
        if (::waitpid(pid, &status, WNOHANG) != pid) continue;
        return WIFSIGNALED(status) ? kExitSignal + WTERMSIG(status) : WEXITSTATUS(status);
    }
}

// The one line at the end; nothing if there was no incident.
void print_summary(const segment::Counters &counters) {
    const std::uint64_t all = counters.all_incidents();
    if (all == 0) return;
    std::string kinds;
    const bool several = std::count(counters.incidents.begin(), counters.incidents.end(), 0U) <
                         static_cast<std::ptrdiff_t>(segment::kKinds) - 1;
    for (unsigned i = 0; i < segment::kKinds; ++i) {
        if (counters.incidents[i] == 0) continue;
        kinds += kinds.empty() ? "" : ", ";
        if (several) kinds += std::to_string(counters.incidents[i]) + " ";
        kinds += segment::kKindNames[i];
    }
    std::cerr << "hakmem: " << all << " incidents (" << kinds << ")" << std::endl;
}

// Never destroyed: see service.h.
Service *make_service(const Arguments &arguments, const RunDir &dir, const std::optional<ListenAddress> &listen) {
    ServiceOptions options;
    options.collector.runtime_dir = dir.path;
    options.collector.delete_ended = dir.is_private;
    if (!dir.is_private) {
        std::string error;
        for (const segment::File &file : segment::find_files(dir.path, error))
            options.collector.ignored.emplace(file.name.pid, file.name.start_ticks);
    }
    options.listen = listen;
    options.store_path = store_file(arguments.store);
    try {
        return new Service(options);
    } catch (const StoreError &error) {
        if (!arguments.store.empty()) throw;
        log::warn(std::string(error.what()) + "; incidents are not kept");
        options.store_path = ":memory:";
        return new Service(options);
    }
}

Launch launch_of(const Arguments &arguments) {
    Launch launch;
    launch.production = arguments.production;
    launch.library = find_library(arguments.production ? "libhakmem.so" : "libhakmem-diag.so");
    launch.children = arguments.children == "all";
    if (!arguments.level.empty()) launch.options.push_back("level=" + arguments.level);
    for (const std::string &option : arguments.options) {
        if (option.find('=') == std::string::npos || option.find(':') != std::string::npos)
            throw UsageError("--option takes KEY=VALUE without a colon, not " + text::clean(option));
        launch.options.push_back(option);
    }
    return launch;
}

int run(const Arguments &arguments, const std::vector<std::string> &command) {
    if (command.empty()) throw UsageError("no command; usage: hakmem run [OPTION…] -- COMMAND [ARG…]");
    std::optional<ListenAddress> listen;
    if (!arguments.no_exporter && !arguments.production) {
        listen.emplace();
        if (!ListenAddress::parse(arguments.listen, *listen))
            throw UsageError("--listen takes HOST:PORT, not " + text::clean(arguments.listen));
    }
    Launch launch = launch_of(arguments);
    say_if_unwatched(command.front());

    // Before any thread is made, so that all of them leave the signals to us.
    sigset_t signals, inherited;
    sigemptyset(&signals);
    sigaddset(&signals, SIGCHLD);
    for (const int signal : kForwarded) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, &inherited);

    if (arguments.production)
        return wait_for(start(command, launch_environment(inherited_environment(), launch), inherited), signals);

    std::string runtime_dir_option = arguments.runtime_dir;
    constexpr std::string_view kDirKey = "runtime_dir=";
    if (runtime_dir_option.empty())
        for (const std::string &option : launch.options)
            if (option.starts_with(kDirKey)) runtime_dir_option = option.substr(kDirKey.size());
    std::erase_if(launch.options, [&](const std::string &option) { return option.starts_with(kDirKey); });
    const RunDir dir = make_run_dir(runtime_dir_option);
    launch.runtime_dir = dir.path;
    std::signal(SIGPIPE, SIG_IGN);
    Service *service = nullptr;
    pid_t pid = -1;
    try {
        service = make_service(arguments, dir, listen);
        service->start();
        if (listen) std::cerr << "hakmem: serving " << service->url() << std::endl;
        pid = start(command, launch_environment(inherited_environment(), launch), inherited);
    } catch (...) {
        if (service != nullptr) service->finish();
        remove_run_dir(dir);
        throw;
    }
    const int status = wait_for(pid, signals);
    service->finish();
    const Totals totals = service->collector().totals();
    remove_run_dir(dir);
    print_summary(totals.counters);
    if (status == 0 && arguments.fail_on_incident && totals.counters.all_incidents() != 0) return kExitIncident;
    return status;
}

}  // namespace

void add_run(CommandLine &line) {
    CLI::App *command =
        add_subcommand(line.app, "run", "Runs a command with the diagnostic allocator and an exporter beside it");
    command->footer("The command and its arguments stand behind --: hakmem run [OPTION…] -- COMMAND [ARG…]");
    const auto arguments = std::make_shared<Arguments>();
    command->add_option("--level", arguments->level, "How much is checked: count, verify, trace, guard")
        ->type_name("LEVEL")
        ->check(
            CLI::IsMember(std::vector<std::string>(std::begin(segment::kLevelNames), std::end(segment::kLevelNames))));
    command->add_option("--listen", arguments->listen, "Where to serve; port 0 takes a free one")
        ->type_name("HOST:PORT")
        ->capture_default_str();
    command->add_flag("--no-exporter", arguments->no_exporter, "Serve nothing");
    command->add_flag("--production", arguments->production, "Preload the production allocator and do nothing else");
    command->add_option("--option", arguments->options, "Goes to HAKMEM_OPTIONS; see hakmem options")
        ->type_name("KEY=VALUE")
        ->expected(1)
        ->take_all();
    command->add_option("--store", arguments->store, "The incident store")
        ->type_name("FILE")
        ->default_str(default_store_path());
    command
        ->add_option("--runtime-dir", arguments->runtime_dir,
                     "Where the segments go; else a private folder that is removed at the end")
        ->type_name("DIR");
    // The production allocator sees none: all would be well, whatever is wrong.
    command
        ->add_flag("--fail-on-incident", arguments->fail_on_incident,
                   "End with 86 if the command ended with 0 but an incident was seen")
        ->excludes("--production");
    command->add_option("--children", arguments->children, "Whether processes that COMMAND starts are watched too")
        ->type_name("all|none")
        ->check(CLI::IsMember(std::vector<std::string>{"all", "none"}))
        ->capture_default_str();
    command->callback(
        [&line, arguments] { line.action = [&line, arguments] { return run(*arguments, line.command); }; });
}

}  // namespace hakmem
