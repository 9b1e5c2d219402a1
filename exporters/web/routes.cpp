#include "web/routes.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "log/log.h"
#include "process/json.h"
#include "prometheus/exposition.h"
#include "text/text.h"
#include "version.h"
#include "web/page.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kJson = "application/json";
constexpr const char *kText = "text/plain; charset=utf-8";
constexpr const char *kMetricsText = "text/plain; version=0.0.4; charset=utf-8";
constexpr const char *kHtml = "text/html; charset=utf-8";
constexpr std::string_view kIncidentPrefix = "/api/v1/incidents/";
constexpr std::uint64_t kMaxLimit = 10'000;
constexpr std::uint64_t kPageGroups = 200;
// An incident that is in a segment now should be in the answer, if symbolizing does not take too long.
constexpr std::chrono::milliseconds kCatchUp{2'000};

bool is_kind(const std::string &name) {
    return std::find(std::begin(segment::kKindNames), std::end(segment::kKindNames), name) !=
           std::end(segment::kKindNames);
}

std::string kind_list() {
    std::string list;
    for (const char *name : segment::kKindNames) list += (list.empty() ? "" : ", ") + std::string(name);
    return list;
}

// Empty, or what is wrong with the query.
std::string parse_filter(const WebRequest &request, IncidentFilter &filter) {
    for (const auto &[key, value] : request.query) {
        if (request.query.count(key) > 1) return "parameter given twice: " + key;
        if (key == "process") {
            filter.process = value;
        } else if (key == "kind") {
            if (!is_kind(value)) return "unknown kind; valid are " + kind_list();
            filter.kind = value;
        } else if (key == "fingerprint") {
            if (value.size() != 16 || value.find_first_not_of("0123456789abcdef") != std::string::npos)
                return "fingerprint must be 16 hexadecimal digits";
            filter.fingerprint = value;
        } else if (key == "since") {
            filter.since_ns = text::parse_time(value);
            if (!filter.since_ns) return "since must be an RFC 3339 time or seconds since the epoch";
        } else if (key == "limit") {
            const auto limit = text::parse_unsigned(value);
            if (!limit || *limit == 0 || *limit > kMaxLimit)
                return "limit must be a number from 1 to " + std::to_string(kMaxLimit);
            filter.limit = *limit;
        } else {
            return "unknown parameter: " + key + "; valid are process, kind, fingerprint, since, limit";
        }
    }
    return {};
}

bool is_host(const std::string &host) {
    return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
    });
}

}  // namespace

WebResponse json_error(int status, const std::string &text) {
    return {status, kJson, Json{{"error", text::clean(text)}}.dump() + "\n"};
}

Routes::Routes(Collector &collector, Ingest &ingest, Store &store, std::string address)
    : collector_(collector), ingest_(ingest), store_(store), address_(std::move(address)) {}

WebResponse Routes::answer(const WebRequest &request) {
    if (request.method != "GET" && request.method != "HEAD")
        return json_error(405, "method not allowed: this server only answers GET and HEAD");
    try {
        const std::string &path = request.path;
        if (path == "/metrics") return metrics();
        if (path == "/") return page();
        if (path == "/api/v1/processes") return processes();
        if (path == "/api/v1/incidents") return incidents(request);
        if (path.starts_with(kIncidentPrefix)) return incident(path.substr(kIncidentPrefix.size()));
        if (path == "/sd") return service_discovery(request);
        if (path == "/-/healthy") return {200, kText, "healthy\n"};
        if (path == "/-/ready") return {200, kText, "ready\n"};
        if (path == "/debug/pprof/heap") return json_error(501, "not built yet");
        return json_error(404, "no such path");
    } catch (const StoreError &error) {
        log::error(error.what());
        return json_error(500, "the incident store failed");
    }
}

WebResponse Routes::metrics() { return {200, kMetricsText, scrape(collector_)}; }

WebResponse Routes::processes() {
    collector_.refresh();
    Json list = Json::array();
    for (const segment::Snapshot &snapshot : collector_.snapshots()) list.push_back(to_json(snapshot));
    return {200, kJson, list.dump() + "\n"};
}

WebResponse Routes::incidents(const WebRequest &request) {
    IncidentFilter filter;
    if (const std::string error = parse_filter(request, filter); !error.empty()) return json_error(400, error);
    ingest_.catch_up(kCatchUp);
    // The store's texts are JSON already: no need to parse them to put them into a list.
    std::string body = "[";
    for (const std::string &row : store_.list(filter)) body += (body.size() == 1 ? "" : ",\n ") + row;
    return {200, kJson, body + "]\n"};
}

WebResponse Routes::incident(const std::string &id) {
    ingest_.catch_up(kCatchUp);
    int matches = 0;
    const auto found = store_.find(id, matches);
    if (found) return {200, kJson, *found + "\n"};
    if (id.empty() || id.find_first_not_of("0123456789abcdef") != std::string::npos)
        return json_error(400, "an incident's id is made of hexadecimal digits");
    return json_error(404, matches > 1 ? "more than one incident's id begins so" : "no such incident");
}

WebResponse Routes::service_discovery(const WebRequest &request) {
    const std::string target = is_host(request.host) ? request.host : address_;
    const Json list =
        Json::array({{{"targets", Json::array({target})}, {"labels", {{"__meta_hakmem_version", HAKMEM_VERSION}}}}});
    return {200, kJson, list.dump() + "\n"};
}

WebResponse Routes::page() {
    collector_.refresh();
    ingest_.catch_up(kCatchUp);
    return {200, kHtml, status_page(collector_.snapshots(), store_.groups(kPageGroups))};
}

}  // namespace hakmem
