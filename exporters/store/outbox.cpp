// The store as the outbox of the sinks: numbers of changes, cursors, and what expires.
#include "store/statement.h"
#include "store/store.h"

namespace hakmem {

bool is_id_prefix(const std::string &id) {
    return !id.empty() && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

std::string Store::identity() {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT identity FROM outbox");
    statement.step();
    return statement.text(0);
}

void Store::attach(const std::string &sink) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "INSERT OR IGNORE INTO sinks (name, cursor) VALUES (?, 0)");
    statement.bind(sink).step();
    attached_.insert(sink);
}

std::uint64_t Store::cursor(const std::string &sink) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT cursor FROM sinks WHERE name = ?");
    return statement.bind(sink).step() ? statement.number(0) : 0;
}

void Store::set_cursor(const std::string &sink, std::uint64_t change) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "UPDATE sinks SET cursor = ?1 WHERE name = ?2");
    statement.bind(change).bind(sink).step();
}

std::vector<OutboxRow> Store::changed_after(std::uint64_t change, std::uint64_t most_rows, std::uint64_t most_bytes) {
    const std::lock_guard lock(mutex_);
    Statement statement(
        db_, "SELECT change, json, first_ns, last_ns FROM incidents WHERE change > ? ORDER BY change LIMIT ?");
    statement.bind(change).bind(most_rows);
    std::vector<OutboxRow> rows;
    std::uint64_t bytes = 0;
    while (statement.step()) {
        OutboxRow row{statement.number(0), statement.text(1), statement.number(2), statement.number(3)};
        bytes += row.json.size();
        if (!rows.empty() && bytes > most_bytes) break;
        rows.push_back(std::move(row));
    }
    return rows;
}

std::uint64_t Store::backlog(std::uint64_t cursor) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT count(*) FROM incidents WHERE change > ?");
    statement.bind(cursor).step();
    return statement.number(0);
}

std::uint64_t Store::expire(std::uint64_t before_ns) {
    const std::lock_guard lock(mutex_);
    std::uint64_t delivered = INT64_MAX;
    for (const std::string &sink : attached_) delivered = std::min(delivered, cursor(sink));
    Statement statement(db_, "DELETE FROM incidents WHERE last_ns < ? AND change <= ?");
    statement.bind(before_ns).bind(delivered).step();
    return static_cast<std::uint64_t>(sqlite3_changes(db_));
}

}  // namespace hakmem
