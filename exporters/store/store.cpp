#include "store/store.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>

#include "fingerprint/fingerprint.h"
#include "incident/json.h"
#include "incident/site.h"
#include "store/statement.h"
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
    // For lists and groups, which never read the JSON: the index has all that groups are made of.
    R"(ALTER TABLE incidents ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
       ALTER TABLE incidents ADD COLUMN thread TEXT NOT NULL DEFAULT '';
       ALTER TABLE incidents ADD COLUMN level TEXT NOT NULL DEFAULT '';
       ALTER TABLE incidents ADD COLUMN site TEXT NOT NULL DEFAULT '';
       ALTER TABLE incidents ADD COLUMN caller TEXT NOT NULL DEFAULT '';
       ALTER TABLE incidents ADD COLUMN other_site TEXT NOT NULL DEFAULT '';
       UPDATE incidents SET pid = ifnull(json_extract(json, '$.pid'), 0),
           thread = ifnull(json_extract(json, '$.thread'), ''), level = ifnull(json_extract(json, '$.level'), ''),
           site = hakmem_site(json), caller = hakmem_caller(json), other_site = hakmem_other_site(json)
           WHERE json_valid(json);
       CREATE INDEX incidents_by_group ON incidents (fingerprint, last_ns, first_ns, count, kind, process);
       DROP INDEX incidents_by_fingerprint;)",
    // The outbox of the sinks.
    R"(ALTER TABLE incidents ADD COLUMN change INTEGER NOT NULL DEFAULT 0;
       UPDATE incidents SET change = rowid;
       CREATE INDEX incidents_by_change ON incidents (change);
       CREATE TABLE outbox (identity TEXT NOT NULL, last_change INTEGER NOT NULL);
       INSERT INTO outbox SELECT lower(hex(randomblob(16))), ifnull(max(change), 0) FROM incidents;
       CREATE TABLE sinks (name TEXT PRIMARY KEY, cursor INTEGER NOT NULL);
       CREATE TRIGGER incidents_added AFTER INSERT ON incidents BEGIN
           UPDATE outbox SET last_change = last_change + 1;
           UPDATE incidents SET change = (SELECT last_change FROM outbox) WHERE rowid = NEW.rowid;
       END;
       CREATE TRIGGER incidents_raised AFTER UPDATE OF count ON incidents BEGIN
           UPDATE outbox SET last_change = last_change + 1;
           UPDATE incidents SET change = (SELECT last_change FROM outbox) WHERE rowid = NEW.rowid;
       END;)",
};
constexpr int kSchemaVersion = static_cast<int>(std::size(kMigrations));

// An SQL function of an incident's JSON, for migrations: what `text_of` says about the incident.
template <std::string (*text_of)(const Incident &)>
void sql_text_of_incident(sqlite3_context *context, int, sqlite3_value **values) {
    const auto *json = reinterpret_cast<const char *>(sqlite3_value_text(values[0]));
    const auto incident = incident_from_json(json != nullptr ? json : "");
    const std::string text = incident ? text_of(*incident) : std::string();
    sqlite3_result_text(context, text.data(), static_cast<int>(text.size()), SQLITE_TRANSIENT);
}

// The condition that a filter is, by the numbered parameters that bind() fills, so that one statement
// may use it more than once.
std::string where(const IncidentFilter &filter) {
    std::string sql = " WHERE 1";
    if (filter.process) sql += " AND process = ?1";
    if (filter.kind) sql += " AND kind = ?2";
    if (filter.fingerprint) sql += " AND fingerprint = ?3";
    if (filter.since_ns) sql += " AND last_ns >= ?4";
    if (filter.until_ns) sql += " AND first_ns <= ?5";
    return sql;
}

// Binds the parameters of `where`.
Statement &bind(Statement &statement, const IncidentFilter &filter) {
    return statement.bind(filter.process)
        .bind(filter.kind)
        .bind(filter.fingerprint)
        .bind(filter.since_ns)
        .bind(filter.until_ns);
}
constexpr const char *kFromGroupIndex = " FROM incidents INDEXED BY incidents_by_group";
constexpr const char *kNewestFirst = " ORDER BY last_ns DESC, first_ns DESC, id LIMIT ?6 OFFSET ?7";

constexpr std::uint64_t kMaxFacets = 1'000;

}  // namespace

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
            sql_failed(db_, ("cannot open " + path).c_str());
        sqlite3_busy_timeout(db_, kBusyTimeoutMs);
        execute("PRAGMA journal_mode = WAL");
        execute("PRAGMA synchronous = NORMAL");
        add_function("hakmem_site", sql_text_of_incident<site>);
        add_function("hakmem_caller", sql_text_of_incident<caller>);
        add_function("hakmem_other_site", sql_text_of_incident<other_site>);
        migrate();
    } catch (const StoreError &error) {
        sqlite3_close(db_);
        throw StoreError(path + ": " + error.what());
    }
}

Store::~Store() { sqlite3_close(db_); }

void Store::execute(const char *sql) {
    const std::lock_guard lock(mutex_);
    if (sqlite3_exec(db_, sql, nullptr, nullptr, nullptr) != SQLITE_OK) sql_failed(db_, "incident store");
}

void Store::add_function(const char *name, void (*function)(sqlite3_context *, int, sqlite3_value **)) {
    if (sqlite3_create_function(db_, name, 1, SQLITE_UTF8 | SQLITE_DETERMINISTIC, nullptr, function, nullptr,
                                nullptr) != SQLITE_OK)
        sql_failed(db_, "incident store");
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

std::optional<std::string> Store::fingerprint_of(const std::string &segment, std::uint32_t record) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT fingerprint FROM incidents WHERE segment = ? AND record = ?");
    return statement.bind(segment).bind(record).step() ? std::optional(statement.text(0)) : std::nullopt;
}

void Store::add(const Incident &incident) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_,
                        "INSERT OR IGNORE INTO incidents (id, segment, record, fingerprint, fingerprint_version, kind,"
                        " process, count, first_ns, last_ns, json, pid, thread, level, site, caller, other_site)"
                        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
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
        .bind(to_json_text(incident))
        .bind(incident.pid)
        .bind(text::clean(incident.thread))
        .bind(std::string(segment::kLevelNames[static_cast<std::size_t>(incident.level)]))
        .bind(site(incident))
        .bind(caller(incident))
        .bind(other_site(incident));
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
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT json FROM incidents" + where(filter) + kNewestFirst);
    bind(statement, filter).bind(filter.limit).bind(filter.offset);
    std::vector<std::string> rows;
    while (statement.step()) rows.push_back(statement.text(0));
    return rows;
}

std::vector<IncidentSummary> Store::summaries(const IncidentFilter &filter) {
    const std::lock_guard lock(mutex_);
    Statement statement(db_,
                        "SELECT id, fingerprint, kind, process, pid, thread, level, site, other_site, count, first_ns,"
                        " last_ns FROM incidents" +
                            where(filter) + kNewestFirst);
    bind(statement, filter).bind(filter.limit).bind(filter.offset);
    std::vector<IncidentSummary> rows;
    while (statement.step())
        rows.push_back({statement.text(0),
                        statement.text(1),
                        statement.text(2),
                        statement.text(3),
                        statement.number(4),
                        statement.text(5),
                        statement.text(6),
                        statement.text(7),
                        statement.text(8),
                        statement.number(9),
                        statement.number(10),
                        statement.number(11),
                        {},
                        {}});
    return rows;
}

std::optional<std::string> Store::find(const std::string &id, int &matches) {
    matches = 0;
    if (!is_id_prefix(id)) return std::nullopt;
    const std::lock_guard lock(mutex_);
    Statement statement(db_, "SELECT json FROM incidents WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2");
    statement.bind(id);
    std::optional<std::string> found;
    for (; statement.step(); ++matches) found = statement.text(0);
    if (matches != 1) found.reset();
    return found;
}

IncidentGroups Store::groups(const IncidentFilter &filter) {
    const std::lock_guard lock(mutex_);
    IncidentGroups all;
    const std::string from = kFromGroupIndex + where(filter);

    Statement sums(db_, "SELECT count(DISTINCT fingerprint), count(*), CAST(total(count) AS INTEGER)" + from);
    bind(sums, filter).step();
    all.all_groups = sums.number(0);
    all.all_incidents = sums.number(1);
    all.all_count = sums.number(2);

    // The columns that are not sums are those of the latest row.
    Statement groups(
        db_,
        "WITH grouped AS (SELECT fingerprint AS print, count(*) AS rows, CAST(total(count) AS INTEGER) AS times,"
        " min(first_ns) AS first, max(last_ns) AS last" +
            from +
            " GROUP BY fingerprint ORDER BY last DESC, print LIMIT ?6 OFFSET ?7)"
            " SELECT print, latest.kind, latest.id, latest.site, latest.caller, latest.other_site, rows, times, first, "
            "last FROM "
            "grouped"
            " JOIN incidents AS latest ON latest.rowid = (SELECT rowid" +
            from + " AND fingerprint = print ORDER BY last_ns DESC LIMIT 1) ORDER BY last DESC, print");
    bind(groups, filter).bind(filter.limit).bind(filter.offset);
    std::map<std::string, std::size_t> places;
    while (groups.step()) {
        places[groups.text(0)] = all.groups.size();
        all.groups.push_back({groups.text(0),
                              groups.text(1),
                              groups.text(2),
                              groups.text(3),
                              groups.text(4),
                              groups.text(5),
                              {},
                              groups.number(6),
                              groups.number(7),
                              groups.number(8),
                              groups.number(9),
                              0,
                              {},
                              0});
    }
    Statement names(db_, "SELECT DISTINCT fingerprint, process" + from + " ORDER BY process");
    bind(names, filter);
    while (names.step())
        if (const auto place = places.find(names.text(0)); place != places.end())
            all.groups[place->second].processes.push_back(names.text(1));

    IncidentFilter other = filter;
    other.kind.reset();
    all.kinds = facets("kind", other);
    other = filter;
    other.process.reset();
    all.processes = facets("process", other);
    return all;
}

std::vector<Facet> Store::facets(const char *column, const IncidentFilter &filter) {
    Statement statement(db_, std::string("SELECT ") + column +
                                 ", count(DISTINCT fingerprint), CAST(total(count) AS INTEGER)" + kFromGroupIndex +
                                 where(filter) + " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT ?6");
    bind(statement, filter).bind(kMaxFacets);
    std::vector<Facet> facets;
    while (statement.step()) facets.push_back({statement.text(0), statement.number(1), statement.number(2)});
    return facets;
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
