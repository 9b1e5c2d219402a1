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
#include "text/text.h"

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

// What is wrong with the command line, and whose --help tells more. The parser looks for what is missing before it
// looks at what it did not expect; the user wants to hear of the word that was mistyped.
std::string wrong_usage(const CLI::App *app, const CLI::Error &error) {
    std::string command = "hakmem";
    const CLI::App *last = app;
    while (!last->get_subcommands().empty()) {
        last = last->get_subcommands().front();
        command += " " + last->get_name();
    }
    const std::vector<std::string> unexpected = app->remaining(true);
    std::string text = error.what();
    if (!unexpected.empty()) {
        const std::string first = text::clean(unexpected.front());
        if (first.starts_with("-")) {
            text = "unknown option " + first;
        } else if (!last->get_subcommands({}).empty()) {
            text = "unknown command " + first + "; valid:";
            for (const CLI::App *each : last->get_subcommands({})) text += " " + each->get_name();
        } else {
            text = "unexpected argument " + first;
            if (last->get_name() == "run") text += "; COMMAND and its arguments stand behind --";
        }
    }
    return "hakmem: " + text + "\nRun " + command + " --help for more information.\n";
}

int run(int argc, char **argv) {
    CLI::App app(kSummary, "hakmem");
    app.failure_message(wrong_usage);
    CommandLine line{app, {}, {}};
    const int end = end_of_options(argc, argv);
    if (end < argc) line.command.assign(argv + end + 1, argv + argc);
    add_all(line);
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
    if (!written) std::cerr << "hakmem: the output could not be written to stdout" << std::endl;
    std::_Exit(written || status != 0 ? status : hakmem::kExitFailure);
}
