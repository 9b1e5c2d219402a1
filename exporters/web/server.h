// The HTTP server: cpp-httplib around Routes. Connections get a thread each, up to a bound, and time limits, so that
// slow clients do not keep others waiting.
#pragma once

#include <memory>
#include <string>
#include <thread>

#include "web/routes.h"
#include "web/web_config.h"

namespace hakmem {

struct ListenAddress {
    std::string host;
    int port = 0;  // 0: any free one

    // HOST:PORT or [IPV6]:PORT; false for anything else.
    static bool parse(const std::string &text, ListenAddress &address);
    std::string text() const;
};

class WebServer {
  public:
    // Throws std::runtime_error with a text for people if the address cannot be served.
    WebServer(const ListenAddress &address, const WebConfig &config);
    ~WebServer();
    WebServer(const WebServer &) = delete;
    WebServer &operator=(const WebServer &) = delete;

    const ListenAddress &address() const { return address_; }  // with the real port
    std::string url() const;

    void start(Routes &routes);
    // Answers no new requests. One that is being answered may still use the server and its routes after that: neither
    // may be destroyed before the process ends.
    void stop();

  private:
    class Implementation;
    std::unique_ptr<Implementation> implementation_;
    ListenAddress address_;
    const bool tls_;
    std::thread thread_;
};

}  // namespace hakmem
