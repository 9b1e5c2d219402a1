// hakmem hunt: named in the interface, not built yet. It says so.
#include <CLI/CLI.hpp>
#include <string>

#include "commands/command.h"

namespace hakmem {
namespace {

CLI::App *add_one(CommandLine &line, const char *name, const char *summary) {
    CLI::App *command = add_subcommand(line.app, name, summary);
    command->callback([&line, name] {
        line.action = [name]() -> int { throw CommandError(std::string(name) + " is not built yet"); };
    });
    return command;
}

}  // namespace

void add_not_built(CommandLine &line) {
    static std::uint64_t pid;
    static std::string fingerprint;
    CLI::App *hunt = add_one(line, "hunt", "Arms the hunt for the writer behind an incident (not built yet)");
    hunt->add_option("PID", pid, "The process")->required();
    hunt->add_option("FINGERPRINT", fingerprint, "The incident's fingerprint")->required();
}

}  // namespace hakmem
