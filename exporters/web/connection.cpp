#include "web/connection.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

namespace hakmem {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kPlaces = 256;
// What a client may always have for itself, however many come behind it.
constexpr auto kOwnTime = 1s;
constexpr auto kRequestTime = 10s;  // from its coming to the end of its request
constexpr auto kAnswerTime = 60s;
constexpr auto kIdleTime = 5s;  // without a byte going either way

void set_non_blocking(int socket) { ::fcntl(socket, F_SETFL, ::fcntl(socket, F_GETFL) | O_NONBLOCK); }

}  // namespace

void Connections::enter() {
    std::unique_lock lock(mutex_);
    while (taken_ >= kPlaces) {
        end_the_oldest();
        changed_.wait_for(lock, kOwnTime / 10);
    }
    ++taken_;
}

void Connections::leave() {
    const std::lock_guard lock(mutex_);
    --taken_;
    changed_.notify_all();
}

bool Connections::wait_until_none(std::chrono::seconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return taken_ == 0; });
}

void Connections::end_the_oldest() {
    const auto oldest = std::find_if(open_.begin(), open_.end(), [](const Connection *connection) {
        return !connection->ended_ && connection->waited_for_;
    });
    if (oldest == open_.end() || Connection::Clock::now() - (*oldest)->came_ < kOwnTime) return;
    (*oldest)->ended_ = true;
    ::shutdown((*oldest)->socket_, SHUT_RDWR);  // its thread wakes up and closes it
}

Connection::Connection(Connections &all, int socket, SSL_CTX *context)
    : all_(all),
      socket_(socket),
      tls_(context != nullptr ? ::SSL_new(context) : nullptr),
      request_by_(came_ + kRequestTime) {
    set_non_blocking(socket);
    if (tls_) ::SSL_set_fd(tls_.get(), socket);
    const std::lock_guard lock(all_.mutex_);
    all_.open_.push_back(this);
}

Connection::~Connection() {
    {
        const std::lock_guard lock(all_.mutex_);
        all_.open_.remove(this);
    }
    if (tls_ && usable_) ::SSL_shutdown(tls_.get());
    ::shutdown(socket_, SHUT_RDWR);
    ::close(socket_);
}

bool Connection::begin() {
    return !tls_ || repeat([this] { return ::SSL_accept(tls_.get()); }, 0, request_by_) > 0;
}

ssize_t Connection::read(char *bytes, std::size_t size) {
    if (taken_ == buffered_) {
        const ssize_t came = repeat(
            [this]() -> ssize_t {
                if (tls_) return ::SSL_read(tls_.get(), buffer_.data(), static_cast<int>(buffer_.size()));
                return ::recv(socket_, buffer_.data(), buffer_.size(), 0);
            },
            POLLIN, request_by_);
        if (came <= 0) return came;
        buffered_ = static_cast<std::size_t>(came);
        taken_ = 0;
    }
    const std::size_t count = std::min(size, buffered_ - taken_);
    std::copy_n(buffer_.data() + taken_, count, bytes);
    taken_ += count;
    return static_cast<ssize_t>(count);
}

ssize_t Connection::write(const char *bytes, std::size_t size) {
    if (size == 0) return 0;
    return repeat(
        [this, bytes, size]() -> ssize_t {
            if (tls_) return ::SSL_write(tls_.get(), bytes, static_cast<int>(std::min<std::size_t>(size, INT_MAX)));
            return ::send(socket_, bytes, size, MSG_NOSIGNAL);
        },
        POLLOUT, answer_by());
}

template <typename Step>
ssize_t Connection::repeat(Step step, short events, Clock::time_point deadline) {
    for (;;) {
        if (tls_) ::ERR_clear_error();
        const ssize_t result = step();
        if (result > 0) return result;
        if (tls_) {
            const int error = ::SSL_get_error(tls_.get(), static_cast<int>(result));
            if (error == SSL_ERROR_ZERO_RETURN) return 0;
            if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
                usable_ = false;
                return -1;
            }
            events = error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        } else if (result == 0 || (errno != EAGAIN && errno != EINTR)) {
            return result;
        }
        if (!wait(events, deadline)) return -1;
    }
}

bool Connection::wait(short events, Clock::time_point deadline) const {
    const auto until = std::min(deadline, Clock::now() + kIdleTime);
    pollfd one{socket_, events, 0};
    waited_for_ = true;
    int ready = -1;
    do {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
        if (left <= 0) break;
        ready = ::poll(&one, 1, static_cast<int>(left));
    } while (ready < 0 && errno == EINTR);
    waited_for_ = false;
    return ready > 0;
}

Connection::Clock::time_point Connection::answer_by() const {
    if (answer_by_ == Clock::time_point{}) answer_by_ = Clock::now() + kAnswerTime;
    return answer_by_;
}

}  // namespace hakmem
