// A client of the web server: its socket, with TLS or without, as the stream that httplib reads a request from and
// writes the answer to. All of a request must have come, and all of an answer gone, within a time: a limit for each
// read alone lets a client that sends a byte now and then stay for ever.
#pragma once

#include <httplib.h>
#include <poll.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <mutex>

namespace hakmem {

class Connection;

// The places that clients may have at a time. Where all are taken and one more comes, that one goes that has had its
// place for longest, of those which the server waits for: one that is always about to send the rest looks busy, but is
// old.
class Connections {
  public:
    // Takes a place, once there is one.
    void enter();
    void leave();
    // False if some still have theirs after that time.
    bool wait_until_none(std::chrono::seconds);

  private:
    friend class Connection;
    void end_the_oldest();  // under the lock

    std::mutex mutex_;
    std::condition_variable changed_;
    std::size_t taken_ = 0;
    std::list<Connection *> open_;  // in the order of their coming
};

class Connection : public httplib::Stream {
  public:
    using Clock = std::chrono::steady_clock;

    // Takes the socket over. Without TLS, `context` is null.
    Connection(Connections &all, int socket, SSL_CTX *context);
    ~Connection() override;
    Connection(const Connection &) = delete;
    Connection &operator=(const Connection &) = delete;

    // TLS's handshake; nothing else may be called if it fails.
    bool begin();

    bool is_readable() const override { return wait(POLLIN, request_by_); }
    bool is_writable() const override { return wait(POLLOUT, answer_by()); }
    ssize_t read(char *bytes, std::size_t size) override;
    ssize_t write(const char *bytes, std::size_t size) override;
    // Nobody asks for addresses.
    void get_remote_ip_and_port(std::string &, int &) const override {}
    void get_local_ip_and_port(std::string &, int &) const override {}
    int socket() const override { return socket_; }

  private:
    friend class Connections;
    struct FreeTls {
        void operator()(SSL *tls) const { ::SSL_free(tls); }
    };

    bool wait(short events, Clock::time_point deadline) const;
    // What `step` returns once it returns something positive, after waiting as often as it has to; 0 at the end, or -1.
    template <typename Step>
    ssize_t repeat(Step step, short events, Clock::time_point deadline);
    Clock::time_point answer_by() const;

    Connections &all_;
    const int socket_;
    const std::unique_ptr<SSL, FreeTls> tls_;
    const Clock::time_point came_ = Clock::now();
    const Clock::time_point request_by_;
    mutable Clock::time_point answer_by_{};  // once the first of it goes
    mutable std::atomic<bool> waited_for_{false};
    bool ended_ = false;             // by Connections, under its lock
    bool usable_ = true;             // TLS can still say goodbye
    std::array<char, 4096> buffer_;  // httplib reads a byte at a time
    std::size_t buffered_ = 0, taken_ = 0;
};

}  // namespace hakmem
