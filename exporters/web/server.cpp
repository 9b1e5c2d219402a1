#include "web/server.h"

#include <httplib.h>
#include <netdb.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <functional>
#include <mutex>
#include <stdexcept>

#include "log/log.h"
#include "text/text.h"
#include "web/gzip.h"

namespace hakmem {
namespace {

constexpr std::size_t kMaxConnections = 256;
constexpr int kTimeoutSeconds = 5;
constexpr std::chrono::seconds kShutdownWait{1};
constexpr int kMaxPort = 65535;
constexpr std::size_t kMinGzip = 1024;  // bytes; less is not worth the time

// A thread a connection: a fixed pool would let as many silent clients as it has threads shut out everybody else.
//
// A client that drips its request may hold its thread for long. At shutdown such threads are left behind, so what they
// touch outlives this object: the state here is shared, and the server is never destroyed.
class ConnectionThreads : public httplib::TaskQueue {
  public:
    void enqueue(std::function<void()> task) override {
        {
            std::unique_lock lock(state_->mutex);
            state_->changed.wait(lock, [this] { return state_->running < kMaxConnections; });
            ++state_->running;
        }
        std::thread([state = state_, task = std::move(task)] {
            task();
            const std::lock_guard lock(state->mutex);
            --state->running;
            state->changed.notify_all();
        }).detach();
    }
    void shutdown() override {
        std::unique_lock lock(state_->mutex);
        state_->changed.wait_for(lock, kShutdownWait, [this] { return state_->running == 0; });
    }

  private:
    struct State {
        std::mutex mutex;
        std::condition_variable changed;
        std::size_t running = 0;
    };
    std::shared_ptr<State> state_ = std::make_shared<State>();
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
            server = std::make_unique<httplib::SSLServer>(config.cert_file.c_str(), config.key_file.c_str());
        else
            server = std::make_unique<httplib::Server>();
    }
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
    server.new_task_queue = [] { return new ConnectionThreads; };
    server.set_socket_options(set_socket_options);
    server.set_tcp_nodelay(true);
    // One request a connection: an idle connection would hold a thread, and the end of the process with it.
    server.set_keep_alive_max_count(1);
    server.set_read_timeout(kTimeoutSeconds);
    server.set_write_timeout(kTimeoutSeconds);
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
