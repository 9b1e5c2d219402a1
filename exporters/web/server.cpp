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

namespace hakmem {
namespace {

constexpr std::size_t kMaxConnections = 256;
constexpr int kTimeoutSeconds = 5;
constexpr std::chrono::seconds kShutdownWait{1};
constexpr int kMaxPort = 65535;

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
    implementation_->server->set_pre_routing_handler([this, &routes](const httplib::Request &in,
                                                                     httplib::Response &out) {
        WebResponse response;
        if (!implementation_->auth.allows(in.get_header_value("Authorization"))) {
            response = json_error(401, "authentication required");
            out.set_header("WWW-Authenticate", "Basic realm=\"hakmem\"");
        } else {
            WebRequest request{in.method, in.path, {in.params.begin(), in.params.end()}, in.get_header_value("Host")};
            response = routes.answer(request);
        }
        if (in.method != "GET" && in.method != "HEAD") out.set_header("Connection", "close");
        out.set_header("X-Content-Type-Options", "nosniff");
        out.set_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'");
        out.set_header("Cache-Control", "no-store");
        out.status = response.status;
        out.set_content(response.body, response.content_type);
        return httplib::Server::HandlerResponse::Handled;
    });
    implementation_->server->set_exception_handler(
        [](const httplib::Request &, httplib::Response &out, std::exception_ptr pointer) {
            try {
                std::rethrow_exception(pointer);
            } catch (const std::exception &error) {
                log::error(error.what());
            } catch (...) {
                log::error("unknown error while answering a request");
            }
            out.status = 500;
            out.set_content(json_error(500, "internal error").body, "application/json");
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
