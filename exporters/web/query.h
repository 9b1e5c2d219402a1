// The parameters behind the `?` of a request: each is known, given once and valid, or the request is refused with a
// text that says what is wrong. Values are hostile.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "store/incident_reader.h"

namespace hakmem {

using QueryParameters = std::multimap<std::string, std::string>;

// Takes one value; returns what is wrong with it, or nothing.
struct Parameter {
    std::string name;
    std::function<std::string(const std::string &value)> take;
};

// Empty, or what is wrong with the query.
std::string parse_query(const QueryParameters &query, const std::vector<Parameter> &known);

// A number from `least` to `most`.
Parameter number_parameter(const char *name, std::uint64_t least, std::uint64_t most, std::uint64_t &into);
// RFC 3339 or seconds since the epoch.
Parameter time_parameter(const char *name, std::optional<std::uint64_t> &into);
// 1 or 0.
Parameter flag_parameter(const char *name, bool &into);

// process, kind, fingerprint, since, until; of a fleet also host and build.
std::vector<Parameter> selection_parameters(IncidentFilter &filter, bool fleet);
// These, and limit and offset.
std::vector<Parameter> filter_parameters(IncidentFilter &filter, bool fleet);

// 16 hexadecimal digits: what a fingerprint is and what an incident's id is.
bool is_hash(const std::string &text);

}  // namespace hakmem
