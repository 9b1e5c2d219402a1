// hakmem top: named in the interface, not built yet. It says so.
#include <CLI/CLI.hpp>
#include <string>

#include "commands/command.h"

namespace hakmem {
namespace {

void add_one(CommandLine &line, const char *name, const char *summary) {
    CLI::App *command = add_subcommand(line.app, name, summary);
    command->callback([&line, name] {
        line.action = [name]() -> int { throw CommandError(std::string(name) + " is not built yet"); };
    });
}

}  // namespace

void add_not_built(CommandLine &line) { add_one(line, "top", "Shows the watched processes live (not built yet)"); }

}  // namespace hakmem
