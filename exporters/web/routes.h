// The answers of the exporter's HTTP paths, without a server: requests in, responses out. Names that come from watched
// programs and from the query are hostile. Thread-safe.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "collect/collector.h"
#include "collect/ingest.h"
#include "heap/profile.h"
#include "sink/sink.h"
#include "store/incident_reader.h"
#include "web/query.h"

namespace hakmem {

struct WebRequest {
    std::string method;
    std::string path;
    QueryParameters query;
    std::string host;           // of the Host header
    std::string if_none_match;  // of that header
    bool accepts_gzip = false;
};

struct WebResponse {
    int status = 200;
    std::string content_type;
    std::string body;
    std::vector<std::pair<std::string, std::string>> headers;  // beside those that every response has
};

class Routes {
  public:
    // `address` is what is served, HOST:PORT, for /sd where the request does not tell a better one.
    // `sinks` says how they stand, for /metrics. `fleet`: the incidents are those of many hosts.
    Routes(Collector &collector, Ingest &ingest, IncidentReader &incidents, std::string address,
           std::function<std::vector<SinkStatus>()> sinks, bool fleet);

    WebResponse answer(const WebRequest &request);

  private:
    WebResponse api(const std::string &path, const WebRequest &request);
    WebResponse metrics();
    WebResponse processes();
    WebResponse live(const WebRequest &request);
    std::variant<segment::Snapshot, WebResponse> profiled(std::uint64_t pid);
    WebResponse pprof(const WebRequest &request);
    WebResponse heap(const std::string &pid);
    WebResponse incidents(const WebRequest &request);
    WebResponse groups(const WebRequest &request);
    WebResponse latest_incident(const WebRequest &request);
    WebResponse incident(const std::string &id);
    WebResponse source(const std::string &id, const WebRequest &request);
    WebResponse service_discovery(const WebRequest &request);

    // The incident's JSON, or why there is none.
    std::optional<std::string> find_incident(const std::string &id, WebResponse &error);

    Collector &collector_;
    Ingest &ingest_;
    IncidentReader &store_;
    HeapProfiler heap_profiler_;
    const std::string address_;
    const std::function<std::vector<SinkStatus>()> sinks_;
    const bool fleet_;
};

WebResponse json_error(int status, const std::string &text);

}  // namespace hakmem
