#include "web/server.h"

#include <httplib.h>
#include <netdb.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <type_traits>

#include "log/log.h"
#include "text/text.h"
#include "web/connection.h"
#include "web/gzip.h"

namespace hakmem {
namespace {

constexpr std::chrono::seconds kShutdownWait{1};
constexpr int kBacklog = 256;  // httplib lets five clients wait: the next one tries again only after a second
constexpr int kMaxPort = 65535;
constexpr std::size_t kMinGzip = 1024;  // bytes; less is not worth the time

// A thread a connection: a fixed pool would let as many silent clients as it has threads shut out everybody else.
//
// A client may hold its thread for long. At shutdown such threads are left behind, so what they touch outlives this
// object: the places are shared, and the server is never destroyed.
class ConnectionThreads : public httplib::TaskQueue {
  public:
    explicit ConnectionThreads(std::shared_ptr<Connections> connections) : connections_(std::move(connections)) {}
    void enqueue(std::function<void()> task) override {
        connections_->enter();
        const auto serve = [connections = connections_, task = std::move(task)] {
            task();
            connections->leave();
        };
        try {
            std::thread(serve).detach();
        } catch (const std::system_error &error) {
            log::warn("no thread for a client, who is served alone: " + error.code().message());
            serve();
        }
    }
    void shutdown() override { connections_->wait_until_none(kShutdownWait); }

  private:
    std::shared_ptr<Connections> connections_;
};

// httplib's server, with or without TLS, on connections of ours.
template <typename Base>
class ServerOnConnections : public Base {
  public:
    template <typename... Arguments>
    explicit ServerOnConnections(std::shared_ptr<Connections> connections, Arguments... arguments)
        : Base(arguments...), connections_(std::move(connections)) {
        // Called when it is about to accept.
        this->new_task_queue = [this] {
            ::listen(this->svr_sock_, kBacklog);
            return new ConnectionThreads(connections_);
        };
    }

  private:
    // One request a connection: an idle connection would hold a thread, and the end of the process with it.
    bool process_and_close_socket(socket_t socket) override {
        SSL_CTX *context = nullptr;
        if constexpr (std::is_same_v<Base, httplib::SSLServer>) context = this->ssl_context();
        Connection connection(*connections_, socket, context);
        bool closed = false;
        return connection.begin() && this->process_request(connection, true, closed, nullptr);
    }
    std::shared_ptr<Connections> connections_;
};

// Without SO_REUSEPORT, which httplib sets of its own and which would let two exporters share a port unseen.
void set_socket_options(int socket) {
    const int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
}

std::string resolve_error(const std::string &host) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    const int result = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
    if (result != 0) return ::gai_strerror(result);
    ::freeaddrinfo(found);
    return {};
}

bool accepts_gzip(const httplib::Request &in) {
    const std::string accepted = in.get_header_value("Accept-Encoding");
    return accepted.find("gzip") != std::string::npos && accepted.find("gzip;q=0") == std::string::npos;
}

WebRequest request_of(const httplib::Request &in) {
    return {in.method,
            in.path,
            {in.params.begin(), in.params.end()},
            in.get_header_value("Host"),
            in.get_header_value("If-None-Match"),
            accepts_gzip(in)};
}

void send(WebResponse response, bool gzip, httplib::Response &out) {
    out.status = response.status;
    for (const auto &[name, value] : response.headers) out.set_header(name, value);
    out.set_header("X-Content-Type-Options", "nosniff");
    if (!out.has_header("Content-Security-Policy")) out.set_header("Content-Security-Policy", "default-src 'none'");
    if (!out.has_header("Cache-Control")) out.set_header("Cache-Control", "no-store");
    if (gzip && response.body.size() >= kMinGzip && !out.has_header("Content-Encoding")) {
        response.body = compress(response.body);
        out.set_header("Content-Encoding", "gzip");
        out.set_header("Vary", "Accept-Encoding");
    }
    if (response.status == 304) return;
    // Not set_content: httplib would compress it by itself, with brotli at its slowest where the client takes that.
    const std::size_t bytes = response.body.size();
    if (bytes == 0) {
        out.set_content("", response.content_type);
        return;
    }
    out.set_content_provider(bytes, response.content_type,
                             [body = std::make_shared<std::string>(std::move(response.body))](
                                 std::size_t offset, std::size_t length, httplib::DataSink &sink) {
                                 return sink.write(body->data() + offset, length);
                             });
}

}  // namespace

class WebServer::Implementation {
  public:
    explicit Implementation(const WebConfig &config) : auth(config.users) {
        if (config.tls())
            server = std::make_unique<ServerOnConnections<httplib::SSLServer>>(connections, config.cert_file.c_str(),
                                                                               config.key_file.c_str());
        else
            server = std::make_unique<ServerOnConnections<httplib::Server>>(connections);
    }
    std::shared_ptr<Connections> connections = std::make_shared<Connections>();
    std::unique_ptr<httplib::Server> server;
    BasicAuth auth;
};

bool ListenAddress::parse(const std::string &text, ListenAddress &address) {
    const auto colon = text.rfind(':');
    if (colon == std::string::npos || colon == 0) return false;
    std::string host = text.substr(0, colon);
    if (host.front() == '[' && host.back() == ']')
        host = host.substr(1, host.size() - 2);
    else if (host.find(':') != std::string::npos)
        return false;
    const auto port = text::parse_unsigned(text.substr(colon + 1));
    if (!port || *port > kMaxPort || host.empty()) return false;
    address.host = host;
    address.port = static_cast<int>(*port);
    return true;
}

std::string ListenAddress::text() const {
    const bool ipv6 = host.find(':') != std::string::npos;
    return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

WebServer::WebServer(const ListenAddress &address, const WebConfig &config)
    : implementation_(std::make_unique<Implementation>(config)), address_(address), tls_(config.tls()) {
    httplib::Server &server = *implementation_->server;
    if (!server.is_valid()) throw std::runtime_error("cannot use the certificate or key of the web configuration");
    server.set_socket_options(set_socket_options);
    server.set_tcp_nodelay(true);
    server.set_payload_max_length(0);
    if (const std::string error = resolve_error(address.host); !error.empty())
        throw std::runtime_error("cannot listen on " + address.text() + ": " + error);
    errno = 0;
    if (address.port == 0)
        address_.port = server.bind_to_any_port(address.host);
    else if (!server.bind_to_port(address.host, address.port))
        address_.port = -1;
    if (address_.port <= 0)
        throw std::runtime_error("cannot listen on " + address.text() + ": " +
                                 std::strerror(errno != 0 ? errno : EADDRNOTAVAIL));
}

WebServer::~WebServer() { stop(); }

std::string WebServer::url() const { return (tls_ ? "https://" : "http://") + address_.text() + "/"; }

void WebServer::start(Routes &routes) {
    // All requests are answered here: httplib's own routing matches regular expressions against hostile paths.
    implementation_->server->set_pre_routing_handler(
        [this, &routes](const httplib::Request &in, httplib::Response &out) {
            WebResponse response;
            if (!implementation_->auth.allows(in.get_header_value("Authorization"))) {
                response = json_error(401, "authentication required");
                response.headers.emplace_back("WWW-Authenticate", "Basic realm=\"hakmem\"");
            } else {
                response = routes.answer(request_of(in));
            }
            if (in.method != "GET" && in.method != "HEAD") out.set_header("Connection", "close");
            send(std::move(response), accepts_gzip(in), out);
            return httplib::Server::HandlerResponse::Handled;
        });
    // Requests that httplib refuses by itself: not HTTP, too long, with a body.
    const httplib::Server::Handler refused = [](const httplib::Request &, httplib::Response &out) {
        if (!out.has_header("X-Content-Type-Options"))
            send(json_error(out.status, "the request was refused"), false, out);
    };
    implementation_->server->set_error_handler(refused);
    implementation_->server->set_exception_handler(
        [](const httplib::Request &, httplib::Response &out, std::exception_ptr pointer) {
            try {
                std::rethrow_exception(pointer);
            } catch (const std::exception &error) {
                log::error(error.what());
            } catch (...) {
                log::error("unknown error while answering a request");
            }
            send(json_error(500, "internal error"), false, out);
        });
    thread_ = std::thread([this] { implementation_->server->listen_after_bind(); });
    while (!implementation_->server->is_running()) std::this_thread::yield();
}

void WebServer::stop() {
    if (!thread_.joinable()) return;
    implementation_->server->stop();
    thread_.join();
}

}  // namespace hakmem
