#include "store/store.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

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
std::string where_else(const IncidentFilter &filter) {  // all but process and kind
    std::string sql = " WHERE 1";
    if (filter.fingerprint) sql += " AND fingerprint = ?3";
    if (filter.since_ns) sql += " AND last_ns >= ?4";
    if (filter.until_ns) sql += " AND first_ns <= ?5";
    return sql;
}

std::string of_process(const IncidentFilter &filter) { return filter.process ? " AND process = ?1" : ""; }
std::string of_kind(const IncidentFilter &filter) { return filter.kind ? " AND kind = ?2" : ""; }
std::string where(const IncidentFilter &filter) { return where_else(filter) + of_process(filter) + of_kind(filter); }

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
    // One look at the incidents: sums, facets and groups are all made of its sums by fingerprint and process. A row is
    // its sort, a name, and what there is to say of it; a group's further columns are those of its latest incident.
    enum { kSum, kKind, kProcess, kGroup };
    const std::string facet_limit = " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT " + std::to_string(kMaxFacets);
    Statement found(
        db_,
        "WITH base AS MATERIALIZED (SELECT fingerprint, process, kind, count(*) AS records, total(count) AS count,"
        " min(first_ns) AS first_ns, max(last_ns) AS last_ns" +
            (kFromGroupIndex + where_else(filter)) +
            " GROUP BY 1, 2, 3),"
            "chosen AS (SELECT * FROM base WHERE 1" +
            of_process(filter) + of_kind(filter) +
            "),"
            "kinds AS (SELECT kind, count(DISTINCT fingerprint) AS prints, total(count) AS count FROM base WHERE 1" +
            of_process(filter) + facet_limit +
            "),"
            "names AS (SELECT process, count(DISTINCT fingerprint) AS prints, total(count) AS count FROM base WHERE 1" +
            of_kind(filter) + facet_limit +
            "),"
            "groups AS (SELECT fingerprint AS print, sum(records) AS records, total(count) AS times,"
            " min(first_ns) AS first_ns, max(last_ns) AS last_ns, group_concat(process, char(10)) AS names FROM chosen"
            " GROUP BY 1 ORDER BY 5 DESC, 1 LIMIT ?6 OFFSET ?7)"
            " SELECT 0, '', count(DISTINCT fingerprint), ifnull(sum(records), 0), CAST(total(count) AS INTEGER), 0, '',"
            " '', '', '', '', '' FROM chosen"
            " UNION ALL SELECT 1, kind, prints, 0, CAST(count AS INTEGER), 0, '', '', '', '', '', '' FROM kinds"
            " UNION ALL SELECT 2, process, prints, 0, CAST(count AS INTEGER), 0, '', '', '', '', '', '' FROM names"
            " UNION ALL SELECT 3, print, groups.first_ns, records, CAST(times AS INTEGER), groups.last_ns, names,"
            " latest.kind, latest.id, latest.site, latest.caller, latest.other_site FROM groups JOIN incidents AS "
            "latest"
            " ON latest.rowid = (SELECT rowid" +
            (kFromGroupIndex + where(filter)) + " AND fingerprint = print ORDER BY last_ns DESC LIMIT 1)");
    bind(found, filter).bind(filter.limit).bind(filter.offset);
    IncidentGroups all;
    while (found.step()) {
        const std::string name = found.text(1);
        switch (found.number(0)) {
            case kSum:
                all.all_groups = found.number(2);
                all.all_incidents = found.number(3);
                all.all_count = found.number(4);
                break;
            case kKind:
                all.kinds.push_back({name, found.number(2), found.number(4)});
                break;
            case kProcess:
                all.processes.push_back({name, found.number(2), found.number(4)});
                break;
            case kGroup: {
                IncidentGroup group;
                group.fingerprint = name;
                group.kind = found.text(7);
                group.latest_id = found.text(8);
                group.site = found.text(9);
                group.caller = found.text(10);
                group.other_site = found.text(11);
                group.processes = text::lines(found.text(6));  // names are clean text: no line break is in them
                group.incidents = found.number(3);
                group.count = found.number(4);
                group.first_ns = found.number(2);
                group.last_ns = found.number(5);
                std::sort(group.processes.begin(), group.processes.end());
                all.groups.push_back(std::move(group));
                break;
            }
            default:
                break;
        }
    }
    std::sort(all.groups.begin(), all.groups.end(), [](const IncidentGroup &a, const IncidentGroup &b) {
        return a.last_ns != b.last_ns ? a.last_ns > b.last_ns : a.fingerprint < b.fingerprint;
    });
    return all;
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
