#include "postgres/schema.h"

#include <iterator>

namespace hakmem {
namespace {

struct Migration {
    int compatible_from;  // a client that knows the schema up to that step may go on
    const char *sql;
};

constexpr Migration kMigrations[] = {
    {1, R"(
CREATE TABLE hakmem.host (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    address text NOT NULL,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen timestamptz NOT NULL DEFAULT now());
CREATE TABLE hakmem.outbox (
    host_id integer NOT NULL REFERENCES hakmem.host,
    store text NOT NULL,
    cursor bigint NOT NULL,
    PRIMARY KEY (host_id, store));
CREATE TABLE hakmem.incident (
    key bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    host_id integer NOT NULL,
    process text NOT NULL,
    fingerprint text COLLATE "C" NOT NULL,
    build_id text COLLATE "C" NOT NULL,
    module text NOT NULL,
    kind text NOT NULL,
    id text COLLATE "C" NOT NULL,
    pid bigint NOT NULL,
    thread text NOT NULL,
    level text NOT NULL,
    site text NOT NULL,
    caller text NOT NULL,
    other_site text NOT NULL,
    records bigint NOT NULL,
    count bigint NOT NULL,
    first_ns bigint NOT NULL,
    last_ns bigint NOT NULL,
    json json NOT NULL,
    UNIQUE (fingerprint, host_id, process, build_id)) WITH (fillfactor = 85);
CREATE INDEX incident_by_time ON hakmem.incident (last_ns);
CREATE INDEX incident_by_host ON hakmem.incident (host_id, last_ns);
CREATE TABLE hakmem.record (
    id text COLLATE "C" NOT NULL,
    host_id integer NOT NULL,
    incident_key bigint NOT NULL,
    count bigint NOT NULL,
    last_ns bigint NOT NULL,
    PRIMARY KEY (id, host_id)) WITH (fillfactor = 90);
CREATE TABLE hakmem.sighting (
    fingerprint text COLLATE "C" NOT NULL,
    process text NOT NULL,
    build_id text COLLATE "C" NOT NULL,
    module text NOT NULL,
    kind text NOT NULL,
    id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    caller text NOT NULL,
    other_site text NOT NULL,
    hosts bigint NOT NULL,
    records bigint NOT NULL,
    count bigint NOT NULL,
    first_ns bigint NOT NULL,
    last_ns bigint NOT NULL,
    PRIMARY KEY (fingerprint, process, build_id)) WITH (fillfactor = 50);
DO $$ BEGIN
    ALTER TABLE hakmem.incident ALTER COLUMN json SET COMPRESSION lz4;
EXCEPTION WHEN OTHERS THEN NULL;  -- a server without it compresses by its own method
END $$;)"},
    // An exporter that only knows the first step would not keep `bug` true: it waits, with its outbox, to be brought up
    // to date.
    {2, R"(
CREATE TABLE hakmem.bug (
    fingerprint text COLLATE "C" NOT NULL,
    whole boolean NOT NULL,
    process text NOT NULL,
    module text NOT NULL,
    kind text NOT NULL,
    id text COLLATE "C" NOT NULL,
    site text NOT NULL,
    caller text NOT NULL,
    other_site text NOT NULL,
    hosts bigint NOT NULL,
    records bigint NOT NULL,
    count bigint NOT NULL,
    first_ns bigint NOT NULL,
    last_ns bigint NOT NULL,
    PRIMARY KEY (fingerprint, whole, process)) WITH (fillfactor = 50);
LOCK TABLE hakmem.incident, hakmem.sighting IN SHARE MODE;
WITH seen AS (
    SELECT false AS whole, process AS name, * FROM hakmem.sighting
    UNION ALL SELECT true, '', * FROM hakmem.sighting),
sums AS (
    SELECT fingerprint, whole, name, sum(records) AS records, sum(count) AS count, min(first_ns) AS first_ns,
        max(last_ns) AS last_ns FROM seen GROUP BY 1, 2, 3),
latest AS (
    SELECT DISTINCT ON (fingerprint, whole, name) fingerprint, whole, name, module, kind, id, site, caller, other_site
    FROM seen ORDER BY fingerprint, whole, name, last_ns DESC),
spread AS (
    SELECT fingerprint, false AS whole, process AS name, count(DISTINCT host_id) AS hosts FROM hakmem.incident
    GROUP BY 1, 2, 3
    UNION ALL SELECT fingerprint, true, '', count(DISTINCT host_id) FROM hakmem.incident GROUP BY 1, 2, 3)
INSERT INTO hakmem.bug SELECT fingerprint, whole, name, module, kind, id, site, caller, other_site, coalesce(hosts, 0),
    records, count, first_ns, last_ns FROM sums JOIN latest USING (fingerprint, whole, name)
    LEFT JOIN spread USING (fingerprint, whole, name);
CREATE INDEX incident_by_bug ON hakmem.incident (fingerprint, last_ns);
CREATE INDEX incident_by_process ON hakmem.incident (process, last_ns);
CREATE INDEX incident_by_kind ON hakmem.incident (kind, last_ns);
CREATE INDEX incident_by_build ON hakmem.incident (build_id, last_ns);)"},
};
constexpr std::chrono::minutes kMigrationTimeout{30};  // a step may rebuild what is large by now
constexpr int kKnown = static_cast<int>(std::size(kMigrations));

// Highest step done, and what a client has to know for it; both 0 where there is no schema.
std::pair<int, int> version(Database &database) {
    if (database
            .query("SELECT to_regclass('hakmem.migration') IS NOT NULL AND "
                   "has_table_privilege('hakmem.migration', 'SELECT')")
            .text(0, 0) != "t")
        return {0, 0};
    const Rows rows = database.query("SELECT max(version), max(compatible_from) FROM hakmem.migration");
    return {static_cast<int>(rows.number(0, 0)), static_cast<int>(rows.number(0, 1))};
}

}  // namespace

void migrate_fleet(Database &database) {
    const auto [done, needed] = version(database);
    if (needed > kKnown)
        throw DatabaseError("PostgreSQL: the schema is of a newer hakmem (" + std::to_string(done) + ", known is " +
                                std::to_string(kKnown) + ")",
                            false);
    if (done >= kKnown) return;
    database.in_transaction([&] {
        database.query("SELECT pg_advisory_xact_lock(hashtext('hakmem migration'))");
        database.query(
            "CREATE SCHEMA IF NOT EXISTS hakmem;"
            "CREATE TABLE IF NOT EXISTS hakmem.migration (version integer PRIMARY KEY, compatible_from integer NOT "
            "NULL,"
            " done_at timestamptz NOT NULL DEFAULT now())");
        for (int step = version(database).first; step < kKnown; ++step) {  // another may have been first
            database.query("SET LOCAL statement_timeout = 0");
            database.query(kMigrations[step].sql, {}, kMigrationTimeout);
            database.query("INSERT INTO hakmem.migration (version, compatible_from) VALUES ($1, $2)",
                           {std::to_string(step + 1), std::to_string(kMigrations[step].compatible_from)});
        }
    });
}

}  // namespace hakmem
