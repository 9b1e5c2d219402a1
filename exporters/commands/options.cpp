// hakmem options: every key of HAKMEM_OPTIONS with its default, its values and its meaning, from the library's own
// table.
#include "diag/options.h"

#include <CLI/CLI.hpp>
#include <iostream>
#include <nlohmann/json.hpp>

#include "commands/command.h"
#include "text/table.h"

namespace hakmem {
namespace {

std::string values_of(const Option &option) {
    std::string values;
    describe_values(
        option, [](void *to, const char *line) { *static_cast<std::string *>(to) = line; }, &values);
    return values;
}

int show(bool json) {
    if (json) {
        auto list = nlohmann::ordered_json::array();
        for (const Option &option : option_table())
            list.push_back({{"key", option.key},
                            {"default", option.default_text},
                            {"values", values_of(option)},
                            {"meaning", option.meaning}});
        std::cout << list.dump(2) << '\n';
        return 0;
    }
    text::Table table({{"KEY"}, {"DEFAULT"}, {"VALUES"}, {"MEANING"}});
    for (const Option &option : option_table())
        table.add({option.key, option.default_text, values_of(option), option.meaning});
    std::cout << table.text();
    return 0;
}

}  // namespace

void add_options(CommandLine &line) {
    CLI::App *command = add_subcommand(line.app, "options", "Lists the keys of HAKMEM_OPTIONS");
    const auto json = std::make_shared<bool>(false);
    command->add_flag("--json", *json, "Print JSON");
    command->callback([&line, json] { line.action = [json] { return show(*json); }; });
}

}  // namespace hakmem
