// The hakmem command: leaves any preloaded allocator of ours behind, then hands over to the subcommand.
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>

#include "commands/command.h"
#include "commands/launch.h"
#include "version.h"

namespace hakmem {
namespace {

// The command is never watched itself, not even where it is started by a watched program: it starts afresh without the
// library, and takes back the segment that the library has made for it.
void leave_preload(char **argv) {
    const char *preload = std::getenv("LD_PRELOAD");
    if (preload == nullptr) return;
    const std::string rest = without_hakmem(preload);
    if (rest == preload) return;
    const auto ticks = segment::process_start_ticks(static_cast<std::uint64_t>(::getpid()));
    const std::string dir = choose_runtime_dir({}).path;
    if (ticks) ::unlink((dir + "/" + std::to_string(::getpid()) + "-" + std::to_string(*ticks) + ".hakmem").c_str());
    if (rest.empty())
        ::unsetenv("LD_PRELOAD");
    else
        ::setenv("LD_PRELOAD", rest.c_str(), 1);
    ::execv("/proc/self/exe", argv);  // if that fails we go on as we are
}

// What stands behind `--` is `run`'s COMMAND and no business of the option parser.
int end_of_options(int argc, char **argv) {
    if (argc > 1 && std::strcmp(argv[1], "run") == 0)
        for (int i = 2; i < argc; ++i)
            if (std::strcmp(argv[i], "--") == 0) return i;
    return argc;
}

int run(int argc, char **argv) {
    CLI::App app{"Tells who corrupted the heap: runs programs under the diagnostic allocator and shows what it found.",
                 "hakmem"};
    app.set_version_flag("--version", "hakmem " HAKMEM_VERSION);
    app.require_subcommand(1);
    app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // the last one counts
    CommandLine line{app, {}, {}};
    const int end = end_of_options(argc, argv);
    if (end < argc) line.command.assign(argv + end + 1, argv + argc);
    add_run(line);
    add_exporter(line);
    add_incidents(line);
    add_ps(line);
    add_set(line);
    add_inspect(line);
    add_options(line);
    add_audit(line);
    add_top(line);
    add_not_built(line);
    try {
        app.parse(end, argv);
        return line.action();
    } catch (const CLI::ParseError &error) {
        return app.exit(error) == 0 ? 0 : kExitUsage;
    } catch (const UsageError &error) {
        std::cerr << "hakmem: " << error.what() << '\n';
        return kExitUsage;
    } catch (const std::exception &error) {
        std::cerr << "hakmem: " << error.what() << '\n';
        return kExitFailure;
    }
}

}  // namespace
}  // namespace hakmem

int main(int argc, char **argv) {
    hakmem::leave_preload(argv);
    const int status = hakmem::run(argc, argv);
    // Nothing is torn down: threads that serve slow clients may still run.
    std::cout.flush();
    const bool written = std::fflush(stdout) == 0 && std::cout.good();
    std::_Exit(written || status != 0 ? status : hakmem::kExitFailure);
}
