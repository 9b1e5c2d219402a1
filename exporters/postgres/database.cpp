#include "postgres/database.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "text/text.h"

namespace hakmem {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLookUp{100};  // how often a wait looks whether it was interrupted
constexpr std::string_view kDataException = "22", kConstraint = "23";  // classes of SQLSTATE

std::string one_line(const char *message) {
    std::string text = message != nullptr ? message : "";
    while (!text.empty() && text.back() == '\n') text.pop_back();
    std::replace_if(
        text.begin(), text.end(), [](char letter) { return letter == '\n' || letter == '\t'; }, ' ');
    return text::clean(text);
}

}  // namespace

bool is_postgres_url(const std::string &url) {
    return url.starts_with("postgresql://") || url.starts_with("postgres://");
}

bool can_read_postgres_url(const std::string &url) {
    // What it complains about would show a password.
    PQconninfoOption *parts = PQconninfoParse(url.c_str(), nullptr);
    PQconninfoFree(parts);
    return parts != nullptr;
}

std::string Rows::text(int row, int column) const {
    return {PQgetvalue(result_.get(), row, column), static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::uint64_t Rows::number(int row, int column) const { return text::parse_unsigned(text(row, column)).value_or(0); }

Database::Database(std::string url, std::chrono::milliseconds timeout, std::function<void(Database &)> made)
    : url_(std::move(url)), timeout_(timeout), made_(std::move(made)) {}

Database::~Database() { PQfinish(connection_); }

void Database::close() {
    const std::lock_guard lock(mutex_);
    PQfinish(connection_);
    connection_ = nullptr;
}

void Database::failed(const std::string &what) {
    close();
    throw DatabaseError("PostgreSQL: " + what, false);
}

void Database::wait(bool to_write, Clock::time_point deadline) {
    for (;;) {
        if (interrupted_) failed("interrupted");
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
        if (left.count() <= 0) failed("no answer within " + std::to_string(limit_.count() / 1'000) + " s");
        pollfd ready{PQsocket(connection_), static_cast<short>(to_write ? POLLIN | POLLOUT : POLLIN), 0};
        const int result = ::poll(&ready, 1, static_cast<int>(std::min(left, kLookUp).count()));
        if (result > 0) return;
        if (result < 0 && errno != EINTR) failed(std::strerror(errno));
    }
}

void Database::connect() {
    if (connection_ != nullptr && PQstatus(connection_) == CONNECTION_OK) return;
    PQfinish(connection_);
    const std::string limit = "-c statement_timeout=" + std::to_string(timeout_.count());
    // What the URL says goes before these.
    const char *keys[] = {"application_name", "client_encoding", "options", "dbname", nullptr};
    const char *values[] = {"hakmem", "UTF8", limit.c_str(), url_.c_str(), nullptr};
    connection_ = PQconnectStartParams(keys, values, 1);
    if (connection_ == nullptr) throw DatabaseError("PostgreSQL: out of memory", false);
    limit_ = timeout_;
    const auto deadline = Clock::now() + limit_;
    for (PostgresPollingStatusType state = PGRES_POLLING_WRITING; state != PGRES_POLLING_OK;) {
        if (PQstatus(connection_) == CONNECTION_BAD || state == PGRES_POLLING_FAILED)
            failed(one_line(PQerrorMessage(connection_)));
        wait(state == PGRES_POLLING_WRITING, deadline);
        state = PQconnectPoll(connection_);
    }
    PQsetnonblocking(connection_, 1);
    PQsetNoticeProcessor(
        connection_, [](void *, const char *) {}, nullptr);
    try {
        made_(*this);
    } catch (...) {
        close();
        throw;
    }
}

Rows Database::result(Clock::time_point deadline) {
    for (int unsent = PQflush(connection_); unsent != 0; unsent = PQflush(connection_)) {
        if (unsent < 0) failed(one_line(PQerrorMessage(connection_)));
        wait(true, deadline);
        if (PQconsumeInput(connection_) == 0) failed(one_line(PQerrorMessage(connection_)));
    }
    Rows last{nullptr};
    std::string error, state;
    for (;;) {
        while (PQisBusy(connection_) != 0) {
            wait(false, deadline);
            if (PQconsumeInput(connection_) == 0) failed(one_line(PQerrorMessage(connection_)));
        }
        PGresult *next = PQgetResult(connection_);
        if (next == nullptr) break;
        if (const ExecStatusType status = PQresultStatus(next);
            status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
            error = one_line(PQresultErrorMessage(next));
            const char *code = PQresultErrorField(next, PG_DIAG_SQLSTATE);
            state = code != nullptr ? code : "";
        }
        last = Rows(next);
    }
    if (PQstatus(connection_) != CONNECTION_OK) failed(error.empty() ? "the connection was lost" : error);
    if (!error.empty())
        throw DatabaseError("PostgreSQL: " + error,
                            state.starts_with(kDataException) || state.starts_with(kConstraint));
    return last;
}

Rows Database::query(const std::string &sql, const Parameters &parameters,
                     std::optional<std::chrono::milliseconds> timeout) {
    const std::lock_guard lock(mutex_);
    connect();
    std::vector<const char *> values;
    for (const auto &parameter : parameters) values.push_back(parameter ? parameter->c_str() : nullptr);
    // Without parameters by the protocol that takes several statements at once.
    const int sent = values.empty() ? PQsendQuery(connection_, sql.c_str())
                                    : PQsendQueryParams(connection_, sql.c_str(), static_cast<int>(values.size()),
                                                        nullptr, values.data(), nullptr, nullptr, 0);
    if (sent == 0) failed(one_line(PQerrorMessage(connection_)));
    limit_ = timeout.value_or(timeout_);
    return result(Clock::now() + limit_);
}

void Database::in_transaction(const std::function<void()> &work) {
    const std::lock_guard lock(mutex_);
    query("BEGIN");
    try {
        work();
        query("COMMIT");
    } catch (...) {
        try {
            if (connection_ != nullptr) query("ROLLBACK");
        } catch (const DatabaseError &) {  // the connection is gone, and the transaction with it
        }
        throw;
    }
}

}  // namespace hakmem
