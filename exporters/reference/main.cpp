// Prints, as JSON, everything that the reference documents tell: the command line, the options of the library, the
// metrics, the kinds of incident. Built beside the command from the same tables and never installed; man pages,
// completions and docs/reference are made from what it prints.
#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>

#include "commands/command.h"
#include "diag/options.h"
#include "prometheus/metrics.h"
#include "report/kinds.h"
#include "version.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

// "LEVEL:{count,verify}" and "DAYS:UINT in [0 - 9]" are a name and what a validator lets through.
Json describe_option(const CLI::Option &option) {
    std::string type = option.get_items_expected_max() == 0 ? "" : option.get_type_name();
    Json values = Json::array();
    std::string range;
    if (const auto colon = type.find(':'); colon != std::string::npos) {
        const std::string checked = type.substr(colon + 1);
        type.resize(colon);
        const auto inside = [&](char open, char close) {
            const auto begin = checked.find(open);
            return begin == std::string::npos ? "" : checked.substr(begin + 1, checked.find(close, begin) - begin - 1);
        };
        range = inside('[', ']');
        for (std::string &value : CLI::detail::split(inside('{', '}'), ','))
            if (!value.empty()) values.push_back(value);
    }
    return {{"name", option.get_positional() ? option.get_name(true) : "--" + option.get_lnames().front()},
            {"short", option.get_snames().empty() ? "" : "-" + option.get_snames().front()},
            {"type", type},
            {"values", values},
            {"range", range},
            {"default", option.get_default_str()},
            {"positional", option.get_positional()},
            {"required", option.get_required()},
            {"repeatable",
             option.get_multi_option_policy() == CLI::MultiOptionPolicy::TakeAll || option.get_expected_max() > 1},
            {"text", option.get_description()}};
}

Json describe_command(const CLI::App &app) {
    Json options = Json::array();
    for (const CLI::Option *option : app.get_options()) options.push_back(describe_option(*option));
    Json commands = Json::array();
    for (const CLI::App *command : app.get_subcommands({})) commands.push_back(describe_command(*command));
    return {{"name", app.get_name()},
            {"text", app.get_description()},
            {"footer", app.get_footer()},
            {"options", options},
            {"commands", commands}};
}

std::string values_of(const Option &option) {
    std::string values;
    describe_values(
        option, [](void *to, const char *line) { *static_cast<std::string *>(to) = line; }, &values);
    return values;
}

Json library_options() {
    Json all = Json::array();
    for (const Option &option : option_table())
        all.push_back({{"key", option.key},
                       {"default", option.default_text},
                       {"values", values_of(option)},
                       {"meaning", option.meaning}});
    return all;
}

Json metrics() {
    Json all = Json::array();
    for (const MetricDescription &metric : kMetrics)
        all.push_back({{"name", metric.name},
                       {"type", metric.type == MetricType::counter ? "counter" : "gauge"},
                       {"by_process", metric.by_process},
                       {"label", metric.label},
                       {"help", metric.help}});
    return all;
}

Json kinds() {
    Json all = Json::array();
    for (const KindText &kind : kKindTexts) {
        Json next = Json::array();
        for (const char *step : kind.next)
            if (step != nullptr) next.push_back(step);
        all.push_back({{"kind", segment::kKindNames[static_cast<std::size_t>(kind.kind)]},
                       {"title", kind.title},
                       {"what", kind.what},
                       {"why", kind.why},
                       {"free_title", kind.free_title},
                       {"next", next}});
    }
    return all;
}

}  // namespace
}  // namespace hakmem

int main() {
    // Defaults that depend on who asks are shown as their rule.
    setenv("XDG_STATE_HOME", "/$XDG_STATE_HOME", 1);
    CLI::App app(hakmem::kSummary, "hakmem");
    hakmem::CommandLine line{app, {}, {}};
    hakmem::add_all(line);
    std::cout << hakmem::Json{{"version", HAKMEM_VERSION},
                              {"command", hakmem::describe_command(app)},
                              {"options", hakmem::library_options()},
                              {"metrics", hakmem::metrics()},
                              {"kinds", hakmem::kinds()}}
                     .dump(2)
              << '\n';
}
