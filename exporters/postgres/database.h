// One connection to PostgreSQL, over libpq. Made when it is first needed and again after a failure; nothing waits
// longer than the time limit, whatever the server does. Thread-safe: statements of several threads run one after
// another.
#pragma once

#include <libpq-fe.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace hakmem {

inline constexpr const char *kUnreadableUrl =
    "is no URL that libpq can read: postgresql://USER@HOST:PORT/DATABASE, a % in a part of it written %25";
bool can_read_postgres_url(const std::string &url);

class DatabaseError : public std::runtime_error {
  public:
    DatabaseError(const std::string &text, bool refused) : std::runtime_error(text), refused(refused) {}
    const bool refused;  // the server looked at the data and cannot take them: no use in trying again
};

class Rows {
  public:
    explicit Rows(PGresult *result) : result_(result, PQclear) {}
    int size() const { return PQntuples(result_.get()); }
    std::string text(int row, int column) const;
    std::uint64_t number(int row, int column) const;  // 0 if it is none

  private:
    std::unique_ptr<PGresult, void (*)(PGresult *)> result_;
};

class Database {
  public:
    using Parameters = std::vector<std::optional<std::string>>;

    // `made` is called with each new connection, for what has to be looked at before it is used.
    Database(std::string url, std::chrono::milliseconds timeout, std::function<void(Database &)> made);
    ~Database();
    Database(const Database &) = delete;
    Database &operator=(const Database &) = delete;

    // Throws DatabaseError. $1, $2, … are the parameters. A time limit of its own is for what may take long.
    Rows query(const std::string &sql, const Parameters &parameters = {},
               std::optional<std::chrono::milliseconds> timeout = {});
    // All or nothing.
    void in_transaction(const std::function<void()> &work);
    void close();
    // Whatever is under way fails at once, and all that comes behind it.
    void interrupt() { interrupted_ = true; }

  private:
    void connect();
    void wait(bool to_write, std::chrono::steady_clock::time_point deadline);
    Rows result(std::chrono::steady_clock::time_point deadline);
    [[noreturn]] void failed(const std::string &what);

    const std::string url_;
    const std::chrono::milliseconds timeout_;
    const std::function<void(Database &)> made_;
    std::recursive_mutex mutex_;
    std::atomic<bool> interrupted_ = false;
    std::chrono::milliseconds limit_{};  // of what is under way
    PGconn *connection_ = nullptr;
};

bool is_postgres_url(const std::string &url);

}  // namespace hakmem
