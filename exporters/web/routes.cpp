#include "web/routes.h"
#include "web/gzip.h"

#include <algorithm>
#include <cctype>
#include <chrono>
#include <nlohmann/json.hpp>
#include <optional>

#include "incident/json.h"
#include "log/log.h"
#include "pprof/pprof.h"
#include "process/json.h"
#include "process/live.h"
#include "prometheus/exposition.h"
#include "report/json.h"
#include "source/source.h"
#include "store/json.h"
#include "text/text.h"
#include "version.h"
#include "web/assets.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kJson = "application/json";
constexpr const char *kText = "text/plain; charset=utf-8";
constexpr const char *kMetricsText = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kApiPrefix = "/api/v1/";
// An incident that is in a segment now should be in the answer, if symbolizing does not take too long.
constexpr std::chrono::milliseconds kCatchUp{2'000};
constexpr std::uint64_t kMaxUnixMs = 253'402'300'799'000;  // the end of the year 9999
constexpr std::uint64_t kMaxSeconds = 86'400;
constexpr std::uint64_t kMaxPid = 1 << 22;   // the kernel's PID_MAX_LIMIT
constexpr std::uint64_t kSourceContext = 5;  // lines before and behind
constexpr std::uint64_t kMaxFrameNumber = 10'000;

// The page loads nothing but its own files, and no script runs that is not one of them.
constexpr const char *kPagePolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data:; connect-src "
    "'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

WebResponse json_answer(const Json &json) { return {200, kJson, json.dump() + "\n", {}}; }

std::vector<std::string> split(std::string_view path) {
    std::vector<std::string> parts;
    for (;;) {
        const std::size_t slash = path.find('/');
        parts.emplace_back(path.substr(0, slash));
        if (slash == std::string_view::npos) return parts;
        path.remove_prefix(slash + 1);
    }
}

// The paths that the page's script shows something at, so that its links can be shared.
bool is_page(const std::string &path, bool &exists) {
    const std::vector<std::string> parts = split(std::string_view(path).substr(1));
    exists = true;
    if (parts.size() == 1) return parts[0].empty() || parts[0] == "processes";
    if (parts[0] == "incidents" || parts[0] == "groups")
        exists = parts.size() == 2 && is_hash(parts[1]);
    else if (parts[0] == "processes")
        exists = text::parse_unsigned(parts[1]) && (parts.size() == 2 || (parts.size() == 3 && parts[2] == "heap"));
    else
        return false;
    return true;
}

WebResponse file(const std::string &path, const WebRequest &request) {
    bool exists = true;
    const bool page = path.starts_with("/") && is_page(path, exists);
    const Asset *asset = find_asset(page ? kIndexPath : path);
    if (asset == nullptr) return json_error(404, "no such path");
    WebResponse response{exists ? 200 : 404, std::string(asset->content_type), {}, {}};
    response.headers = {{"ETag", std::string(asset->etag)},
                        {"Vary", "Accept-Encoding"},
                        {"Cache-Control", asset->immutable ? "public, max-age=31536000, immutable" : "no-cache"},
                        {"Content-Security-Policy", kPagePolicy},
                        {"Referrer-Policy", "same-origin"}};
    if (exists && request.if_none_match == asset->etag) {
        response.status = 304;
        return response;
    }
    const bool compressed = request.accepts_gzip && !asset->gzip.empty();
    if (compressed) response.headers.emplace_back("Content-Encoding", "gzip");
    response.body = compressed ? asset->gzip : asset->body;
    return response;
}

bool is_host(const std::string &host) {
    return !host.empty() && host.size() <= 255 && std::all_of(host.begin(), host.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '.' || c == '-' || c == ':' || c == '[' || c == ']' || c == '_';
    });
}

}  // namespace

WebResponse json_error(int status, const std::string &text) {
    return {status, kJson, Json{{"error", text::clean(text)}}.dump() + "\n", {}};
}

Routes::Routes(Collector &collector, Ingest &ingest, IncidentReader &incidents, std::string address,
               std::function<std::vector<SinkStatus>()> sinks, bool fleet)
    : collector_(collector),
      ingest_(ingest),
      store_(incidents),
      address_(std::move(address)),
      sinks_(std::move(sinks)),
      fleet_(fleet) {}

WebResponse Routes::answer(const WebRequest &request) {
    if (request.method != "GET" && request.method != "HEAD") {
        WebResponse refused = json_error(405, "method not allowed: this server only answers GET and HEAD");
        refused.headers.emplace_back("Allow", "GET, HEAD");
        return refused;
    }
    try {
        const std::string &path = request.path;
        if (path == "/metrics") return metrics();
        if (path == "/sd") return service_discovery(request);
        if (path == "/-/healthy") return {200, kText, "healthy\n", {}};
        if (path == "/-/ready") return {200, kText, "ready\n", {}};
        if (path == "/debug/pprof/heap") return pprof(request);
        if (path == "/incidents/latest") return latest_incident(request);
        if (path.starts_with(kApiPrefix)) return api(path, request);
        return file(path, request);
    } catch (const StoreError &error) {
        log::error(error.what());
        return json_error(500, "the incident store failed");
    }
}

WebResponse Routes::api(const std::string &path, const WebRequest &request) {
    const std::vector<std::string> parts = split(std::string_view(path).substr(kApiPrefix.size()));
    const std::string &name = parts[0];
    // Those that take parameters look at them by themselves.
    if (name == "incidents" && parts.size() == 1) return incidents(request);
    if (name == "incidents" && parts.size() == 3 && parts[2] == "source") return source(parts[1], request);
    if (name == "groups" && parts.size() == 1) return groups(request);
    if (name == "live" && parts.size() == 1) return live(request);
    if (const std::string error = parse_query(request.query, {}); !error.empty()) return json_error(400, error);
    if (name == "incidents" && parts.size() == 2) return incident(parts[1]);
    if (name == "kinds" && parts.size() == 1) return json_answer(kinds_json());
    if (name == "processes" && parts.size() == 1) return processes();
    if (name == "processes" && parts.size() == 3 && parts[2] == "heap") return heap(parts[1]);
    return json_error(404, "no such path");
}

WebResponse Routes::metrics() {
    return {200, kMetricsText, scrape(collector_, {sinks_(), ingest_.fingerprints().counts()}), {}};
}

WebResponse Routes::processes() {
    collector_.refresh();
    Json list = Json::array();
    for (const segment::Snapshot &snapshot : collector_.snapshots()) list.push_back(to_json(snapshot));
    return json_answer(list);
}

WebResponse Routes::live(const WebRequest &request) {
    LiveQuery query;
    std::uint64_t pid = 0, seconds = 0;
    const std::string error = parse_query(request.query, {number_parameter("since", 0, kMaxUnixMs, query.since_ms),
                                                          number_parameter("seconds", 1, kMaxSeconds, seconds),
                                                          number_parameter("pid", 1, kMaxPid, pid)});
    if (!error.empty()) return json_error(400, error);
    const std::uint64_t now_ms = text::unix_ms();
    if (seconds != 0) query.since_ms = std::max(query.since_ms, now_ms - seconds * 1'000);
    if (pid != 0) query.pid = pid;
    return json_answer(live_json(collector_.snapshots(), ingest_.history(), query, now_ms));
}

// The heap profile's process, or the answer that says why there is none.
std::variant<segment::Snapshot, WebResponse> Routes::profiled(std::uint64_t pid) {
    collector_.refresh();
    const auto path = collector_.path_of(pid);
    if (!path) return json_error(404, "no process of that pid is watched");
    segment::ReadResult result = segment::read_file(*path, segment::Parts::heap);
    if (!result.snapshot) return json_error(404, "its segment cannot be read: " + result.error);
    if (result.snapshot->level < segment::Level::trace && result.snapshot->heap.empty()) {
        const char *level = segment::kLevelNames[static_cast<std::size_t>(result.snapshot->level)];
        Json error{{"error", std::string("the heap profile needs level trace, and this process runs at ") + level},
                   {"level", level}};
        return WebResponse{404, kJson, error.dump() + "\n", {}};
    }
    return std::move(*result.snapshot);
}

WebResponse Routes::heap(const std::string &pid_text) {
    const auto pid = text::parse_unsigned(pid_text);
    if (!pid) return json_error(400, "a process is named by its pid, a number");
    auto found = profiled(*pid);
    if (auto *refusal = std::get_if<WebResponse>(&found)) return std::move(*refusal);
    const auto &snapshot = std::get<segment::Snapshot>(found);
    return json_answer({{"pid", snapshot.pid},
                        {"process", text::clean(snapshot.process)},
                        {"level", segment::kLevelNames[static_cast<std::size_t>(snapshot.level)]},
                        {"time_ms", text::unix_ms()},
                        {"live_bytes", snapshot.counters.live_bytes()},
                        {"sites", to_json(heap_profiler_.sites(snapshot))}});
}

WebResponse Routes::pprof(const WebRequest &request) {
    std::uint64_t pid = 0;
    const std::string error = parse_query(request.query, {number_parameter("pid", 1, kMaxPid, pid)});
    if (!error.empty()) return json_error(400, error);
    if (pid == 0) return json_error(400, "which process? ?pid=N");
    auto found = profiled(pid);
    if (auto *refusal = std::get_if<WebResponse>(&found)) return std::move(*refusal);
    const auto &snapshot = std::get<segment::Snapshot>(found);
    const std::string profile = to_pprof(snapshot, heap_profiler_.sites(snapshot), text::unix_ms() * 1'000'000);
    // The file itself is gzip, whatever the client accepts.
    return {200, "application/octet-stream", compress(profile), {}};
}

WebResponse Routes::incidents(const WebRequest &request) {
    IncidentFilter filter;
    bool brief = false;
    std::vector<Parameter> known = filter_parameters(filter, fleet_);
    known.push_back(flag_parameter("brief", brief));
    if (const std::string error = parse_query(request.query, known); !error.empty()) return json_error(400, error);
    ingest_.catch_up(kCatchUp);
    if (brief) {
        Json list = Json::array();
        for (const IncidentSummary &summary : store_.summaries(filter)) list.push_back(to_json(summary));
        return json_answer(list);
    }
    // The store's texts are JSON already: no need to parse them to put them into a list.
    std::string body = "[";
    for (const std::string &row : store_.list(filter)) body += (body.size() == 1 ? "" : ",\n ") + row;
    return {200, kJson, body + "]\n", {}};
}

// Answers from the store as it is: the ingest is a second behind at most, and a page asks again soon.
WebResponse Routes::groups(const WebRequest &request) {
    IncidentFilter filter;
    if (const std::string error = parse_query(request.query, filter_parameters(filter, fleet_)); !error.empty())
        return json_error(400, error);
    return json_answer(to_json(store_.groups(filter)));
}

std::optional<std::string> Routes::find_incident(const std::string &id, WebResponse &error) {
    ingest_.catch_up(kCatchUp);
    int matches = 0;
    auto found = store_.find(id, matches);
    if (found) return found;
    if (id.empty() || id.find_first_not_of("0123456789abcdef") != std::string::npos)
        error = json_error(400, "an incident's id is made of hexadecimal digits");
    else
        error = json_error(404, matches > 1 ? "more than one incident's id begins so" : "no such incident");
    return std::nullopt;
}

// Where an alert leads, which knows the process and the kind but no id.
WebResponse Routes::latest_incident(const WebRequest &request) {
    IncidentFilter filter;
    if (const std::string error = parse_query(request.query, selection_parameters(filter, fleet_)); !error.empty())
        return json_error(400, error);
    filter.limit = 1;
    ingest_.catch_up(kCatchUp);
    const std::vector<IncidentSummary> latest = store_.summaries(filter);
    // What has expired from the store is no error to whoever follows an old link.
    const std::string target = latest.empty() ? "/" : "/incidents/" + latest.front().id;
    return {302, kText, "see " + target + "\n", {{"Location", target}}};
}

WebResponse Routes::incident(const std::string &id) {
    WebResponse response;
    if (const auto found = find_incident(id, response)) response = {200, kJson, *found + "\n", {}};
    return response;
}

// Reads no file but one that a frame of a stored incident names.
WebResponse Routes::source(const std::string &id, const WebRequest &request) {
    std::string stack = "free";
    std::uint64_t frame_number = 0, context = kSourceContext;
    const std::string query_error = parse_query(
        request.query, {{"stack",
                         [&](const std::string &value) -> std::string {
                             stack = value;
                             return std::any_of(std::begin(kStacks), std::end(kStacks),
                                                [&](const StackName &entry) { return entry.name == value; })
                                        ? ""
                                        : "stack must be free, alloc, previous_free, suspect_alloc or writer";
                         }},
                        number_parameter("frame", 0, kMaxFrameNumber, frame_number),
                        number_parameter("context", 0, kMaxSourceContext, context)});
    if (!query_error.empty()) return json_error(400, query_error);
    WebResponse error;
    const auto text = find_incident(id, error);
    if (!text) return error;
    const auto incident = incident_from_json(*text);
    if (!incident) return json_error(500, "the incident is damaged in the store");
    for (const StackName &entry : kStacks) {
        if (entry.name != stack) continue;
        const Stack &frames = (*incident).*entry.stack;
        if (frame_number >= frames.size()) return json_error(404, "the incident has no such frame");
        const Frame &frame = frames[frame_number];
        if (frame.file.empty()) return json_error(404, "no debug information names the source of this frame");
        const SourceLines source = read_source(frame.file, frame.line, static_cast<unsigned>(context));
        if (!source.error.empty()) return json_error(404, source.error);
        // The lines are of another text than the program's where the file is younger than the program or the incident.
        const std::uint64_t known_ns = std::min(modified_ns(frame.module).value_or(UINT64_MAX), incident->first_ns);
        return json_answer({{"file", text::clean(frame.file)},
                            {"line", frame.line},
                            {"first_line", source.first_line},
                            {"lines", source.lines},
                            {"changed_since", source.modified_ns > known_ns}});
    }
    return json_error(404, "the incident has no such frame");
}

WebResponse Routes::service_discovery(const WebRequest &request) {
    if (const auto hosts = store_.hosts()) {
        Json list = Json::array();
        for (const FleetHost &host : *hosts)
            list.push_back({{"targets", Json::array({text::clean(host.address)})},
                            {"labels", {{"__meta_hakmem_host", text::clean(host.name)}}}});
        return json_answer(list);
    }
    const std::string target = is_host(request.host) ? request.host : address_;
    const Json list =
        Json::array({{{"targets", Json::array({target})}, {"labels", {{"__meta_hakmem_version", HAKMEM_VERSION}}}}});
    return json_answer(list);
}

}  // namespace hakmem
