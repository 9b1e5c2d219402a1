#include "web/query.h"

#include <algorithm>

#include "segment/layout.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::uint64_t kMaxLimit = 10'000;
constexpr std::uint64_t kMaxOffset = 1'000'000'000;
constexpr std::size_t kHashDigits = 16;
constexpr std::size_t kMaxProcessName = 256;
constexpr std::size_t kMaxBuildId = 40;  // digits

std::string name_list(const std::vector<Parameter> &known) {
    std::string list;
    for (const Parameter &parameter : known) list += (list.empty() ? "" : ", ") + parameter.name;
    return list.empty() ? "there are none" : "valid are " + list;
}

std::string kind_list() {
    std::string list;
    for (const char *name : segment::kKindNames) list += (list.empty() ? "" : ", ") + std::string(name);
    return list;
}

bool is_kind(const std::string &name) {
    return std::find(std::begin(segment::kKindNames), std::end(segment::kKindNames), name) !=
           std::end(segment::kKindNames);
}

}  // namespace

bool is_hash(const std::string &text) {
    return text.size() == kHashDigits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string parse_query(const QueryParameters &query, const std::vector<Parameter> &known) {
    for (const auto &given : query) {
        const std::string &key = given.first, &value = given.second;
        const auto parameter =
            std::find_if(known.begin(), known.end(), [&](const Parameter &candidate) { return candidate.name == key; });
        if (parameter == known.end()) return "unknown parameter: " + key + "; " + name_list(known);
        if (query.count(key) > 1) return "parameter given twice: " + key;
        if (std::string error = parameter->take(value); !error.empty()) return error;
    }
    return {};
}

Parameter number_parameter(const char *name, std::uint64_t least, std::uint64_t most, std::uint64_t &into) {
    return {name, [=, &into](const std::string &value) -> std::string {
                const auto number = text::parse_unsigned(value);
                if (!number || *number < least || *number > most)
                    return std::string(name) + " must be a number from " + std::to_string(least) + " to " +
                           std::to_string(most);
                into = *number;
                return {};
            }};
}

Parameter time_parameter(const char *name, std::optional<std::uint64_t> &into) {
    return {name, [=, &into](const std::string &value) -> std::string {
                into = text::parse_time(value);
                return into ? "" : std::string(name) + " must be an RFC 3339 time or seconds since the epoch";
            }};
}

Parameter flag_parameter(const char *name, bool &into) {
    return {name, [=, &into](const std::string &value) -> std::string {
                if (value != "0" && value != "1") return std::string(name) + " must be 0 or 1";
                into = value == "1";
                return {};
            }};
}

std::vector<Parameter> selection_parameters(IncidentFilter &filter, bool fleet) {
    std::vector<Parameter> known = {
        {"process",
         [&filter](const std::string &value) -> std::string {
             if (value.size() > kMaxProcessName) return "process must be a name of at most 256 bytes";
             filter.process = value;
             return {};
         }},
        {"kind",
         [&filter](const std::string &value) -> std::string {
             if (!is_kind(value)) return "unknown kind; valid are " + kind_list();
             filter.kind = value;
             return {};
         }},
        {"fingerprint",
         [&filter](const std::string &value) -> std::string {
             if (!is_hash(value)) return "fingerprint must be 16 hexadecimal digits";
             filter.fingerprint = value;
             return {};
         }},
        time_parameter("since", filter.since_ns),
        time_parameter("until", filter.until_ns),
    };
    if (fleet) {
        known.push_back({"host", [&filter](const std::string &value) -> std::string {
                             if (value.size() > kMaxProcessName) return "host must be a name of at most 256 bytes";
                             filter.host = value;
                             return {};
                         }});
        known.push_back({"build", [&filter](const std::string &value) -> std::string {
                             if (value.size() > kMaxBuildId ||
                                 value.find_first_not_of("0123456789abcdef") != std::string::npos)
                                 return "build must be a build-id in hexadecimal digits";
                             filter.build_id = value;
                             return {};
                         }});
    }
    return known;
}

std::vector<Parameter> filter_parameters(IncidentFilter &filter, bool fleet) {
    std::vector<Parameter> all = selection_parameters(filter, fleet);
    all.push_back(number_parameter("limit", 1, kMaxLimit, filter.limit));
    all.push_back(number_parameter("offset", 0, kMaxOffset, filter.offset));
    return all;
}

}  // namespace hakmem
