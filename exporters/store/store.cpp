#include "store/store.h"

#include <pwd.h>
#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "fingerprint/fingerprint.h"
#include "incident/json.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr int kBusyTimeoutMs = 5000;

// One step a version of the schema; user_version counts the steps done.
constexpr const char *kMigrations[] = {
    R"(CREATE TABLE incidents (
           id TEXT PRIMARY KEY,
           segment TEXT NOT NULL,
           record INTEGER NOT NULL,
           fingerprint TEXT NOT NULL,
           fingerprint_version INTEGER NOT NULL,
           kind TEXT NOT NULL,
           process TEXT NOT NULL,
           count INTEGER NOT NULL,
           first_ns INTEGER NOT NULL,
           last_ns INTEGER NOT NULL,
           json TEXT NOT NULL,
           UNIQUE (segment, record));
       CREATE INDEX incidents_by_time ON incidents (last_ns);
       CREATE INDEX incidents_by_fingerprint ON incidents (fingerprint, last_ns);)",
};
constexpr int kSchemaVersion = static_cast<int>(std::size(kMigrations));

std::int64_t to_sql(std::uint64_t value) {
    return static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX));
}

[[noreturn]] void fail(sqlite3 *db, const char *what) {
    throw StoreError(std::string(what) + ": " + (db != nullptr ? sqlite3_errmsg(db) : "out of memory"));
}

}  // namespace

class Store::Statement {
  public:
    Statement(sqlite3 *db, const std::string &sql) : db_(db) {
        if (sqlite3_prepare_v2(db, sql.c_str(), -1, &statement_, nullptr) != SQLITE_OK) fail(db, "incident store");
    }
    ~Statement() { sqlite3_finalize(statement_); }
    Statement(const Statement &) = delete;
    Statement &operator=(const Statement &) = delete;

    Statement &bind(const std::string &value) {
        sqlite3_bind_text(statement_, ++bound_, value.data(), static_cast<int>(value.size()), SQLITE_TRANSIENT);
        return *this;
    }
    Statement &bind(std::uint64_t value) {
        sqlite3_bind_int64(statement_, ++bound_, to_sql(value));
        return *this;
    }
    // True as long as there is a row.
    bool step() {
        const int result = sqlite3_step(statement_);
        if (result == SQLITE_ROW) return true;
        if (result == SQLITE_DONE) return false;
        fail(db_, "incident store");
    }
    std::string text(int column) const {
        const auto *value = reinterpret_cast<const char *>(sqlite3_column_text(statement_, column));
        return value == nullptr
                   ? std::string()
                   : std::string(value, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
    }
    std::uint64_t number(int column) const {
        return static_cast<std::uint64_t>(std::max<std::int64_t>(sqlite3_column_int64(statement_, column), 0));
    }

  private:
    sqlite3 *db_;
    sqlite3_stmt *statement_ = nullptr;
    int bound_ = 0;
};

Store::Store(const std::string &path, Mode mode) {
    if (mode == Mode::create && path != ":memory:") {
        const std::filesystem::path folder = std::filesystem::path(path).parent_path();
        std::error_code error;
        if (!folder.empty()) std::filesystem::create_directories(folder, error);
        if (error) throw StoreError("cannot make " + folder.string() + ": " + error.message());
    }
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | SQLITE_OPEN_EXRESCODE |
                      (mode == Mode::create ? SQLITE_OPEN_CREATE : 0);
    try {
        if (sqlite3_open_v2(path.c_str(), &db_, flags, nullptr) != SQLITE_OK)
            fail(db_, ("cannot open " + path).c_str());
        sqlite3_busy_timeout(db_, kBusyTimeoutMs);
        execute("PRAGMA journal_mode = WAL");
        execute("PRAGMA synchronous = NORMAL");
        migrate();
    } catch (const StoreError &error) {
        sqlite3_close(db_);
        throw StoreError(path + ": " + error.what());
    }
}

Store::~Store() { sqlite3_close(db_); }

void Store::execute(const char *sql) {
    const std::lock_guard lock(mutex_);
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) fail(db_, "incident store");
}

void Store::migrate() {
    const auto version = [this] {
        Statement statement(db_, "PRAGMA user_version");
        statement.step();
        return static_cast<int>(statement.number(0));
    };
    if (version() > kSchemaVersion)
        throw StoreError("made by a newer hakmem (schema " + std::to_string(version()) + ", known is " +
                         std::to_string(kSchemaVersion) + ")");
    if (version() == kSchemaVersion) return;
    in_transaction([&] {  // another process may be doing the same: look again behind the lock
        for (int step = version(); step < kSchemaVersion; ++step) execute(kMigrations[step]);
        execute(("PRAGMA user_version = " + std::to_string(kSchemaVersion)).c_str());
    });
}

void Store::in_transaction(const std::function<void()> &work) {
    const std::lock_guard lock(mutex_);
    execute("BEGIN IMMEDIATE");
    try {
        work();
        execute("COMMIT");
    } catch (...) {
        sqlite3_exec(db_, "ROLLBACK", nullptr, nullptr, nullptr);
        throw;
    }
}

void Store::checkpoint() {
    const std::lock_guard lock(mutex_);
    sqlite3_wal_checkpoint_v2(db_, nullptr, SQLITE_CHECKPOINT_TRUNCATE, nullptr, nullptr);  // readers may prevent it
}

bool Store::has(const std::string &segment, std::uint32_t record) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT 1 FROM incidents WHERE segment = ? AND record = ?");
    return statement.bind(segment).bind(record).step();
}

void Store::add(const Incident &incident) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_,
                        "INSERT OR IGNORE INTO incidents (id, segment, record, fingerprint, fingerprint_version, kind,"
                        " process, count, first_ns, last_ns, json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    statement.bind(incident.id)
        .bind(incident.segment)
        .bind(incident.record)
        .bind(incident.fingerprint)
        .bind(std::uint64_t{kFingerprintVersion})
        .bind(std::string(segment::kKindNames[static_cast<std::size_t>(incident.kind)]))
        .bind(text::clean(incident.process))
        .bind(incident.count)
        .bind(incident.first_ns)
        .bind(incident.last_ns)
        .bind(to_json_text(incident));
    statement.step();
}

void Store::update(const std::string &segment, std::uint32_t record, std::uint64_t count, std::uint64_t last_ns) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_,
                        "UPDATE incidents SET count = ?1, last_ns = max(last_ns, ?2),"
                        " json = json_set(json, '$.count', ?1, '$.last_seen', ?3)"
                        " WHERE segment = ?4 AND record = ?5 AND count < ?1");
    statement.bind(count).bind(last_ns).bind(text::rfc3339(last_ns)).bind(segment).bind(record);
    statement.step();
}

std::vector<std::string> Store::list(const IncidentFilter &filter) {
    std::string sql = "SELECT json FROM incidents WHERE 1";
    if (filter.process) sql += " AND process = ?";
    if (filter.kind) sql += " AND kind = ?";
    if (filter.fingerprint) sql += " AND fingerprint = ?";
    if (filter.since_ns) sql += " AND last_ns >= ?";
    sql += " ORDER BY last_ns DESC, first_ns DESC, id LIMIT ?";
    const std::lock_guard lock(mutex_);
    Statement statement(db_, sql);
    if (filter.process) statement.bind(*filter.process);
    if (filter.kind) statement.bind(*filter.kind);
    if (filter.fingerprint) statement.bind(*filter.fingerprint);
    if (filter.since_ns) statement.bind(*filter.since_ns);
    statement.bind(filter.limit);
    std::vector<std::string> rows;
    while (statement.step()) rows.push_back(statement.text(0));
    return rows;
}

std::optional<std::string> Store::find(const std::string &id, int &matches) {
    matches = 0;
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (id.empty() || id.find_first_not_of(kDigits) != std::string::npos) return std::nullopt;
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT json FROM incidents WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2");
    statement.bind(id);
    std::optional<std::string> found;
    for (; statement.step(); ++matches) found = statement.text(0);
    if (matches != 1) found.reset();
    return found;
}

std::vector<IncidentGroup> Store::groups(std::uint64_t limit) {
    const std::lock_guard lock(mutex_);
    // SQLite takes the bare columns from the row that has the max().
    Statement statement(
        db_,
        "SELECT fingerprint, kind, process, id, count(*), CAST(total(count) AS INTEGER), min(first_ns), max(last_ns)"
        " FROM incidents GROUP BY fingerprint ORDER BY max(last_ns) DESC LIMIT ?");
    statement.bind(limit);
    std::vector<IncidentGroup> groups;
    while (statement.step())
        groups.push_back({statement.text(0), statement.text(1), statement.text(2), statement.text(3),
                          statement.number(4), statement.number(5), statement.number(6), statement.number(7)});
    return groups;
}

std::uint64_t Store::expire(std::uint64_t before_ns) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "DELETE FROM incidents WHERE last_ns < ?");
    statement.bind(before_ns).step();
    return static_cast<std::uint64_t>(sqlite3_changes(db_));
}

std::string default_store_path() {
    constexpr const char *kFile = "/hakmem/incidents.db";
    if (const char *state = std::getenv("XDG_STATE_HOME"); state != nullptr && state[0] == '/')
        return std::string(state) + kFile;
    const char *home = std::getenv("HOME");
    if (home == nullptr || home[0] != '/') {
        const passwd *user = ::getpwuid(::geteuid());
        home = user != nullptr ? user->pw_dir : "/tmp";
    }
    return std::string(home) + "/.local/state" + kFile;
}

}  // namespace hakmem
