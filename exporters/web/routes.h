// The answers of the exporter's HTTP paths, without a server: requests in, responses out. Names that come from watched
// programs and from the query are hostile. Thread-safe.
#pragma once

#include <map>
#include <string>

#include "collect/collector.h"
#include "collect/ingest.h"
#include "store/store.h"

namespace hakmem {

struct WebRequest {
    std::string method;
    std::string path;
    std::multimap<std::string, std::string> query;
    std::string host;  // of the Host header
};

struct WebResponse {
    int status = 200;
    std::string content_type;
    std::string body;
};

class Routes {
  public:
    // `address` is what is served, HOST:PORT, for /sd where the request does not tell a better one.
    Routes(Collector &collector, Ingest &ingest, Store &store, std::string address);

    WebResponse answer(const WebRequest &request);

  private:
    WebResponse metrics();
    WebResponse processes();
    WebResponse incidents(const WebRequest &request);
    WebResponse incident(const std::string &id);
    WebResponse service_discovery(const WebRequest &request);
    WebResponse page();

    Collector &collector_;
    Ingest &ingest_;
    Store &store_;
    const std::string address_;
};

WebResponse json_error(int status, const std::string &text);

}  // namespace hakmem
