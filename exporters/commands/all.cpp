// The whole command line: what every invocation takes, and each subcommand in the order of --help.
#include <CLI/CLI.hpp>

#include "commands/command.h"
#include "version.h"

namespace hakmem {

void add_all(CommandLine &line) {
    line.app.set_version_flag("--version", "hakmem " HAKMEM_VERSION);
    line.app.require_subcommand(1);
    line.app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // the last one counts
    add_run(line);
    add_exporter(line);
    add_incidents(line);
    add_ps(line);
    add_set(line);
    add_inspect(line);
    add_options(line);
    add_audit(line);
    add_top(line);
    add_hunt(line);
}

}  // namespace hakmem
