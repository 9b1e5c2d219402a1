#include "sink/postgres_sink.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "incident/site.h"
#include "postgres/schema.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::chrono::seconds kTimeout{30};

// What a row shows of its latest incident.
constexpr const char *kLatestOfIncident[] = {"id",    "kind", "module", "pid",        "thread",
                                             "level", "site", "caller", "other_site", "json"};
constexpr const char *kLatestOfSighting[] = {"id", "kind", "module", "site", "caller", "other_site"};  // and of a bug

template <std::size_t N>
std::string names(const char *const (&columns)[N], const std::string &before = {}) {
    std::string sql;
    for (const char *column : columns) sql += ", " + before + column;
    return sql;
}

template <std::size_t N>
std::string take_later(const char *const (&columns)[N], const std::string &table) {
    std::string sql;
    for (const char *column : columns) {
        const std::string name = column;
        sql += ", " + name + " = CASE WHEN excluded.last_ns >= " + table + ".last_ns THEN excluded." + name + " ELSE " +
               table + "." + name + " END";
    }
    return sql;
}

std::string raise(const std::string &table) {
    return " DO UPDATE SET records = " + table + ".records + excluded.records, count = " + table +
           ".count + excluded.count, first_ns = least(" + table + ".first_ns, excluded.first_ns), last_ns = greatest(" +
           table + ".last_ns, excluded.last_ns)";
}

// $1 is the host's number, $2 the batch. Rows of `sighting` and `bug` are shared with other hosts: they are taken in
// one order, and last, so that nobody waits for them long. A host is counted where it had no such incident before this
// statement.
std::string batch_sql() {
    return "WITH batch AS MATERIALIZED ("
           " SELECT b.*, greatest(b.count - coalesce(r.count, 0), 0) AS delta, (r.id IS NULL)::integer AS fresh"
           " FROM json_to_recordset($2::json) AS b (id text COLLATE \"C\", fingerprint text COLLATE \"C\", process "
           "text,"
           "  build_id text COLLATE \"C\", module text, kind text, pid bigint, thread text, level text, site text,"
           "  caller text, other_site text, count bigint, first_ns bigint, last_ns bigint, json json)"
           " LEFT JOIN hakmem.record AS r ON r.id = b.id AND r.host_id = $1::integer"
           " WHERE r.id IS NULL OR b.count > r.count OR b.last_ns > r.last_ns),"
           "sums AS MATERIALIZED ("
           " SELECT fingerprint, process, build_id, sum(delta)::bigint AS count, sum(fresh)::bigint AS records,"
           "  min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM batch GROUP BY 1, 2, 3),"
           "latest AS MATERIALIZED ("
           " SELECT DISTINCT ON (fingerprint, process, build_id) fingerprint, process, build_id, last_ns" +
           names(kLatestOfIncident) +
           " FROM batch ORDER BY fingerprint, process, build_id, last_ns DESC, id),"
           "known AS MATERIALIZED ("
           " SELECT DISTINCT i.fingerprint, i.process FROM hakmem.incident AS i"
           "  JOIN (SELECT DISTINCT fingerprint FROM batch) AS b USING (fingerprint) WHERE i.host_id = $1::integer),"
           "stored AS ("
           " INSERT INTO hakmem.incident AS i (host_id, fingerprint, process, build_id, records, count, first_ns, "
           "last_ns" +
           names(kLatestOfIncident) +
           ") SELECT $1::integer, fingerprint, process, build_id, records, count, first_ns, sums.last_ns" +
           names(kLatestOfIncident) +
           " FROM sums JOIN latest USING (fingerprint, process, build_id) ORDER BY 2, 3, 4"
           " ON CONFLICT (fingerprint, host_id, process, build_id)" +
           raise("i") + take_later(kLatestOfIncident, "i") +
           " RETURNING key, fingerprint, process, build_id, (xmax = 0)::integer AS fresh),"
           "noted AS ("
           " INSERT INTO hakmem.record AS r (id, host_id, incident_key, count, last_ns)"
           " SELECT id, $1::integer, key, count, last_ns FROM batch JOIN stored USING (fingerprint, process, build_id)"
           " ON CONFLICT (id, host_id) DO UPDATE SET incident_key = excluded.incident_key,"
           "  count = greatest(r.count, excluded.count), last_ns = greatest(r.last_ns, excluded.last_ns)),"
           // Each sum counts for its process and for the whole.
           "parts (whole) AS (VALUES (false), (true)),"
           "bugs AS ("
           " SELECT fingerprint, whole, CASE WHEN whole THEN '' ELSE process END AS process, sum(records)::bigint AS "
           "records, sum(count)::bigint AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns"
           " FROM sums, parts GROUP BY 1, 2, 3),"
           "latest_bugs AS ("
           " SELECT DISTINCT ON (fingerprint, whole, 3) fingerprint, whole, CASE WHEN whole THEN '' ELSE process END "
           "AS "
           "process" +
           names(kLatestOfSighting) +
           " FROM latest, parts ORDER BY fingerprint, whole, 3, last_ns DESC, id),"
           "counted AS ("
           " INSERT INTO hakmem.bug AS g (fingerprint, whole, process, hosts, records, count, first_ns, last_ns" +
           names(kLatestOfSighting) +
           ") SELECT fingerprint, whole, b.process, (NOT EXISTS (SELECT FROM known AS k WHERE k.fingerprint = "
           "b.fingerprint AND (whole OR k.process = b.process)))::integer, records, count, first_ns, last_ns" +
           names(kLatestOfSighting) +
           " FROM bugs AS b JOIN latest_bugs USING (fingerprint, whole, process) ORDER BY 1, 2, 3"
           " ON CONFLICT (fingerprint, whole, process)" +
           raise("g") + ", hosts = g.hosts + excluded.hosts" + take_later(kLatestOfSighting, "g") +
           ") INSERT INTO hakmem.sighting AS s (fingerprint, process, build_id, hosts, records, count, first_ns, "
           "last_ns" +
           names(kLatestOfSighting) +
           ") SELECT fingerprint, process, build_id, stored.fresh, records, count, first_ns, sums.last_ns" +
           names(kLatestOfSighting) +
           " FROM sums JOIN latest USING (fingerprint, process, build_id)"
           " JOIN stored USING (fingerprint, process, build_id) ORDER BY 1, 2, 3"
           " ON CONFLICT (fingerprint, process, build_id)" +
           raise("s") + ", hosts = s.hosts + excluded.hosts" + take_later(kLatestOfSighting, "s");
}

std::string batch_json(const SinkBatch &batch) {
    std::string text = "[";
    for (const SinkItem &item : batch.items) {
        const Incident &incident = item.incident;
        const Frame frame = site_frame(incident);
        const nlohmann::json row = {
            {"id", incident.id},
            {"fingerprint", incident.fingerprint},
            {"process", incident.process},
            {"build_id", frame.build_id},
            {"module", text::base_name(frame.module)},
            {"kind", segment::kKindNames[static_cast<std::size_t>(incident.kind)]},
            {"pid", incident.pid},
            {"thread", incident.thread},
            {"level", segment::kLevelNames[static_cast<std::size_t>(incident.level)]},
            {"site", site(incident)},
            {"caller", caller(incident)},
            {"other_site", other_site(incident)},
            {"count", std::min<std::uint64_t>(incident.count, INT64_MAX)},
            {"first_ns", std::min<std::uint64_t>(incident.first_ns, INT64_MAX)},
            {"last_ns", std::min<std::uint64_t>(incident.last_ns, INT64_MAX)},
        };
        std::string head = row.dump();
        head.back() = ',';
        text += (text.size() == 1 ? "" : ",") + head + "\"json\":" + item.json + "}";
    }
    return text + "]";
}

SinkError sink_error(const DatabaseError &error) {
    return {error.refused ? SinkError::Reason::refused : SinkError::Reason::unreachable, error.what()};
}

}  // namespace

PostgresSink::PostgresSink(const std::string &url, SinkSource source)
    : source_(std::move(source)), database_(url, kTimeout, [this](Database &database) { connected(database); }) {}

void PostgresSink::connected(Database &database) {
    migrate_fleet(database);
    database.query(
        "INSERT INTO hakmem.host (name, address) VALUES ($1, $2) ON CONFLICT (name)"
        " DO UPDATE SET address = excluded.address WHERE host.address <> excluded.address",
        {source_.host, source_.address});
    host_id_ = database.query("SELECT id FROM hakmem.host WHERE name = $1", {source_.host}).text(0, 0);
}

std::uint64_t PostgresSink::deliver(const SinkBatch &batch) {
    try {
        const std::string rows = batch_json(batch);
        database_.in_transaction([&] {
            // A second exporter of the same host waits, so that what the record table says stays true.
            database_.query("SELECT pg_advisory_xact_lock(hashtext('hakmem host'), $1::integer)", {host_id_});
            // A database that was restored from a backup since: resume() says where to go on from.
            if (stored_cursor() < batch.after)
                throw SinkError(SinkError::Reason::unreachable, "PostgreSQL: the database has lost what it had");
            database_.query("UPDATE hakmem.host SET last_seen = now() WHERE id = $1", {host_id_});
            database_.query(
                "INSERT INTO hakmem.outbox (host_id, store, cursor) VALUES ($1, $2, $3)"
                " ON CONFLICT (host_id, store) DO UPDATE SET cursor = excluded.cursor",
                {host_id_, source_.store, std::to_string(batch.cursor)});
            // Last: from here on other hosts wait for the rows that are shared.
            if (!batch.items.empty()) database_.query(batch_sql(), {host_id_, rows});
        });
        return 0;
    } catch (const DatabaseError &error) {
        throw sink_error(error);
    }
}

std::uint64_t PostgresSink::stored_cursor() {
    const Rows rows = database_.query("SELECT cursor FROM hakmem.outbox WHERE host_id = $1 AND store = $2",
                                      {host_id_, source_.store});
    return rows.size() == 1 ? rows.number(0, 0) : 0;
}

std::uint64_t PostgresSink::resume(std::uint64_t cursor) {
    try {
        // A query without parameters first: it connects, and host_id_ is known behind it.
        database_.query("SELECT 1");
        return std::min(cursor, stored_cursor());
    } catch (const DatabaseError &error) {
        throw sink_error(error);
    }
}

}  // namespace hakmem
