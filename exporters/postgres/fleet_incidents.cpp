#include "postgres/fleet_incidents.h"

#include <algorithm>
#include <map>

#include "postgres/schema.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::chrono::seconds kTimeout{20};
constexpr std::uint64_t kMaxFacets = 1'000;
constexpr std::uint64_t kMaxBuilds = 20;  // of one group
// How much one step of expiry takes: so little that sinks wait for a fraction of a second.
constexpr std::uint64_t kExpiredAtOnce = 2'000;
constexpr std::uint64_t kPagesAtOnce = 4'096;

// The parameters of a filter, $1 to $8, in every statement alike: one that is not asked for is NULL.
Database::Parameters parameters_of(const IncidentFilter &filter) {
    const auto number = [](const std::optional<std::uint64_t> &value) {
        return value ? std::optional(std::to_string(std::min<std::uint64_t>(*value, INT64_MAX))) : std::nullopt;
    };
    return {filter.process,
            filter.kind,
            filter.fingerprint,
            filter.build_id,
            filter.host,
            number(filter.since_ns),
            number(filter.until_ns),
            std::to_string(filter.limit),
            std::to_string(filter.offset)};
}

constexpr const char *kOfProcess = "($1::text IS NULL OR process = $1)";
constexpr const char *kOfKind = "($2::text IS NULL OR kind = $2)";

// All but process and kind. Every parameter is named, for a server wants to know the type of each.
std::string where_else(const IncidentFilter &filter) {
    std::string sql =
        " WHERE ($6::bigint IS NULL OR last_ns >= $6) AND ($7::bigint IS NULL OR first_ns <= $7)"
        " AND $8::bigint >= 0 AND $9::bigint >= 0 AND ($5::text IS NULL OR true)";
    // As plain conditions where they are asked for: by these there are indexes.
    sql += filter.fingerprint ? " AND fingerprint = $3" : " AND $3::text IS NULL";
    sql += filter.build_id ? " AND build_id = $4" : " AND $4::text IS NULL";
    if (filter.host) sql += " AND host_id = (SELECT host.id FROM hakmem.host WHERE host.name = $5)";
    return sql;
}

std::string where(const IncidentFilter &filter) {
    return where_else(filter) + (filter.process ? " AND process = $1" : " AND $1::text IS NULL") +
           (filter.kind ? " AND kind = $2" : " AND $2::text IS NULL");
}

// What groups are made of, with the same names of columns: the smallest table that knows what is filtered by.
std::string from(const IncidentFilter &filter) {
    if (filter.host) return " FROM hakmem.incident AS seen";
    if (filter.build_id || filter.since_ns || filter.until_ns) return " FROM hakmem.sighting AS seen";
    return " FROM (SELECT *, ''::text AS build_id FROM hakmem.bug WHERE NOT whole) AS seen";
}

constexpr const char *kNewestFirst = " ORDER BY last_ns DESC, first_ns DESC, id LIMIT $8 OFFSET $9";

}  // namespace

FleetIncidents::FleetIncidents(const std::string &url)
    : database_(url, kTimeout, migrate_fleet), expiry_(url, kTimeout, migrate_fleet) {
    try {
        database_.query("SELECT 1");
    } catch (const DatabaseError &error) {
        throw StoreError(error.what());
    }
}

Rows FleetIncidents::query(const std::string &sql, const Database::Parameters &parameters) {
    try {
        return database_.query(sql, parameters);
    } catch (const DatabaseError &error) {
        throw StoreError(error.what());
    }
}

std::vector<std::string> FleetIncidents::list(const IncidentFilter &filter) {
    const Rows found = query("SELECT json FROM hakmem.incident" + where(filter) + kNewestFirst, parameters_of(filter));
    std::vector<std::string> rows;
    for (int i = 0; i < found.size(); ++i) rows.push_back(found.text(i, 0));
    return rows;
}

std::vector<IncidentSummary> FleetIncidents::summaries(const IncidentFilter &filter) {
    const Rows found = query(
        "SELECT incident.id, fingerprint, kind, process, pid, thread, level, site, other_site, count, first_ns, "
        "last_ns,"
        " host.name, build_id FROM (SELECT * FROM hakmem.incident" +
            where(filter) + kNewestFirst +
            ") AS incident JOIN hakmem.host ON host.id = host_id ORDER BY last_ns DESC, first_ns DESC, incident.id",
        parameters_of(filter));
    std::vector<IncidentSummary> rows;
    for (int i = 0; i < found.size(); ++i)
        rows.push_back({found.text(i, 0), found.text(i, 1), found.text(i, 2), found.text(i, 3), found.number(i, 4),
                        found.text(i, 5), found.text(i, 6), found.text(i, 7), found.text(i, 8), found.number(i, 9),
                        found.number(i, 10), found.number(i, 11), found.text(i, 12), found.text(i, 13)});
    return rows;
}

std::optional<std::string> FleetIncidents::find(const std::string &id, int &matches) {
    matches = 0;
    if (!is_id_prefix(id)) return std::nullopt;
    const Rows found = query(
        "SELECT json FROM hakmem.record JOIN hakmem.incident ON key = incident_key WHERE record.id >= $1"
        " AND record.id < $1 || 'g' ORDER BY record.id LIMIT 2",
        {id});
    matches = found.size();
    return matches == 1 ? std::optional(found.text(0, 0)) : std::nullopt;
}

IncidentGroups FleetIncidents::groups(const IncidentFilter &filter) {
    // One look at the table: sums, facets and groups are all made of its sums by bug and process. A row is its sort, a
    // name, and what there is to say of it.
    enum { kSum, kKind, kProcess, kGroup };
    const std::string of_process = kOfProcess, of_kind = kOfKind, facet_limit = std::to_string(kMaxFacets);
    const Rows found = query(
        "WITH base AS MATERIALIZED (SELECT fingerprint, process, kind, sum(records)::bigint AS records,"
        " sum(count)::bigint AS count, min(first_ns) AS first_ns, max(last_ns) AS last_ns" +
            from(filter) + where_else(filter) +
            " GROUP BY 1, 2, 3),"
            "chosen AS (SELECT * FROM base WHERE " +
            of_process + " AND " + of_kind +
            "),"
            "kinds AS (SELECT kind, count(DISTINCT fingerprint), sum(count) FROM base WHERE " +
            of_process + " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT " + facet_limit +
            "),"
            "processes AS (SELECT process, count(DISTINCT fingerprint), sum(count) FROM base WHERE " +
            of_kind + " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT " + facet_limit +
            "),"
            "groups AS (SELECT fingerprint, sum(records) AS records, sum(count) AS times, min(first_ns) AS first_ns,"
            " max(last_ns) AS last_ns, string_agg(DISTINCT process, E'\\n') AS names FROM chosen GROUP BY 1 ORDER BY 5 "
            "DESC, 1 LIMIT $8 OFFSET $9)"
            "SELECT 0, '', count(DISTINCT fingerprint), coalesce(sum(records), 0), coalesce(sum(count), 0), 0, '' FROM "
            "chosen"
            " UNION ALL SELECT 1, kind, count, 0, sum, 0, '' FROM kinds"
            " UNION ALL SELECT 2, process, count, 0, sum, 0, '' FROM processes"
            " UNION ALL SELECT 3, fingerprint, first_ns, records, times, last_ns, names FROM groups",
        parameters_of(filter));
    IncidentGroups all;
    for (int i = 0; i < found.size(); ++i) {
        const std::string name = found.text(i, 1);
        switch (found.number(i, 0)) {
            case kSum:
                all.all_groups = found.number(i, 2);
                all.all_incidents = found.number(i, 3);
                all.all_count = found.number(i, 4);
                break;
            case kKind:
                all.kinds.push_back({name, found.number(i, 2), found.number(i, 4)});
                break;
            case kProcess:
                all.processes.push_back({name, found.number(i, 2), found.number(i, 4)});
                break;
            case kGroup: {
                IncidentGroup group;
                group.fingerprint = name;
                group.first_ns = found.number(i, 2);
                group.incidents = found.number(i, 3);
                group.count = found.number(i, 4);
                group.last_ns = found.number(i, 5);
                group.processes = text::lines(found.text(i, 6));  // names are clean text: no line break is in them
                all.groups.push_back(std::move(group));
                break;
            }
            default:
                break;
        }
    }
    add_details(all, filter);
    return all;
}

// Of each group what its latest incident says, its hosts, whatever else is filtered by, and its builds: the one that
// was seen first, then the latest.
void FleetIncidents::add_details(IncidentGroups &groups, const IncidentFilter &filter) {
    if (groups.groups.empty()) return;
    std::map<std::string, IncidentGroup *> places;
    std::string prints = "{";
    for (IncidentGroup &group : groups.groups) {
        places[group.fingerprint] = &group;
        prints += (prints.size() == 1 ? "" : ",") + group.fingerprint;
    }
    prints += "}";
    Database::Parameters parameters = parameters_of(filter);
    parameters.emplace_back(prints);
    const Rows latest =
        query("SELECT DISTINCT ON (fingerprint) fingerprint, kind, id, site, caller, other_site" + from(filter) +
                  where(filter) + " AND fingerprint = ANY ($10::text[]) ORDER BY fingerprint, last_ns DESC",
              parameters);
    for (int i = 0; i < latest.size(); ++i) {
        IncidentGroup &group = *places.at(latest.text(i, 0));
        group.kind = latest.text(i, 1);
        group.latest_id = latest.text(i, 2);
        group.site = latest.text(i, 3);
        group.caller = latest.text(i, 4);
        group.other_site = latest.text(i, 5);
    }
    // A host may have a bug in several processes: only the incidents tell in how many a build of it was.
    const Rows hosts = query(
        filter.build_id
            ? "SELECT fingerprint, count(DISTINCT host_id) FROM hakmem.incident WHERE fingerprint = ANY ($1::text[])"
              " AND ($2::text IS NULL OR process = $2) AND build_id = $3 GROUP BY fingerprint"
            : "SELECT fingerprint, hosts FROM hakmem.bug WHERE fingerprint = ANY ($1::text[])"
              " AND whole = ($2::text IS NULL) AND process = coalesce($2, '') AND $3::text IS NULL",
        {prints, filter.process, filter.build_id});
    for (int i = 0; i < hosts.size(); ++i) places.at(hosts.text(i, 0))->hosts = hosts.number(i, 1);
    const Rows builds = query(
        "WITH builds AS (SELECT fingerprint, build_id, max(module) AS module, max(hosts) AS hosts, sum(count)::bigint "
        "AS count,"
        "  min(first_ns) AS first_ns, max(last_ns) AS last_ns FROM hakmem.sighting WHERE fingerprint = ANY ($1::text[])"
        "  AND ($2::text IS NULL OR process = $2) GROUP BY 1, 2),"
        "ranked AS (SELECT *, row_number() OVER (PARTITION BY fingerprint ORDER BY first_ns, build_id) AS oldest,"
        "  row_number() OVER (PARTITION BY fingerprint ORDER BY first_ns DESC, build_id DESC) AS newest,"
        "  count(*) OVER (PARTITION BY fingerprint) AS all_builds FROM builds)"
        "SELECT fingerprint, build_id, module, hosts, count, first_ns, last_ns, all_builds FROM ranked"
        " WHERE oldest = 1 OR newest < $3::bigint ORDER BY fingerprint, oldest <> 1, newest",
        {prints, filter.process, std::to_string(kMaxBuilds)});
    for (int i = 0; i < builds.size(); ++i) {
        IncidentGroup &group = *places.at(builds.text(i, 0));
        group.builds.push_back({builds.text(i, 1), builds.text(i, 2), builds.number(i, 3), builds.number(i, 4),
                                builds.number(i, 5), builds.number(i, 6)});
        group.all_builds = builds.number(i, 7);
    }
}

std::optional<std::vector<FleetHost>> FleetIncidents::hosts() {
    const Rows found = query("SELECT name, address FROM hakmem.host WHERE address <> $1 ORDER BY name", {""});
    std::vector<FleetHost> hosts;
    for (int i = 0; i < found.size(); ++i) hosts.push_back({found.text(i, 0), found.text(i, 1)});
    return hosts;
}

bool FleetIncidents::expire(std::uint64_t before_ns) {
    const std::string before = std::to_string(std::min<std::uint64_t>(before_ns, INT64_MAX));
    bool more = false;
    try {
        expiry_.in_transaction([&] {
            // One exporter at a time; the others have nothing to do then.
            if (expiry_.query("SELECT pg_try_advisory_xact_lock(hashtext('hakmem expiry'))").text(0, 0) != "t") return;
            more = expire_incidents(before) || expire_records(before);
            if (more) return;
            // Their last incident went before them.
            for (const char *table : {"sighting", "bug"})
                expiry_.query(std::string("DELETE FROM hakmem.") + table + " WHERE last_ns < $1::bigint", {before});
        });
        if (!more) expiry_.close();
    } catch (const DatabaseError &error) {
        throw StoreError(error.what());
    }
    return more;
}

// Some of the incidents that are old, and their part of the sums. Their hosts' sinks wait meanwhile, so that nobody
// counts a host that has just gone as one that is known; the shared rows are locked in the order in which sinks do.
bool FleetIncidents::expire_incidents(const std::string &before) {
    const std::string limit = std::to_string(kExpiredAtOnce);
    const Rows old = expiry_.query(
        "SELECT array_agg(host_id) FROM (SELECT host_id, pg_advisory_xact_lock(hashtext('hakmem host'), host_id) FROM"
        " (SELECT DISTINCT host_id FROM (SELECT host_id FROM hakmem.incident WHERE last_ns < $1::bigint ORDER BY "
        "last_ns"
        " LIMIT $2) AS old ORDER BY host_id) AS hosts) AS locked",
        {before, limit});
    const std::string hosts = old.text(0, 0);
    if (hosts.empty()) return false;
    const std::string keys =
        expiry_
            .query(
                "SELECT coalesce(array_agg(key), '{}') FROM (SELECT key FROM hakmem.incident WHERE host_id = ANY"
                " ($1::integer[]) AND last_ns < $2::bigint ORDER BY last_ns LIMIT $3) AS old",
                {hosts, before, limit})
            .text(0, 0);
    const std::string gone =
        "(SELECT DISTINCT fingerprint, process, build_id FROM hakmem.incident WHERE key = ANY"
        " ($1::bigint[])) AS gone";
    expiry_.query("SELECT FROM hakmem.sighting JOIN " + gone +
                      " USING (fingerprint, process, build_id)"
                      " ORDER BY fingerprint, process, build_id FOR UPDATE OF sighting",
                  {keys});
    expiry_.query("SELECT FROM hakmem.bug JOIN " + gone +
                      " USING (fingerprint) WHERE whole OR bug.process ="
                      " gone.process ORDER BY fingerprint, whole, bug.process FOR UPDATE OF bug",
                  {keys});
    expiry_.query(
        "WITH gone AS (DELETE FROM hakmem.incident WHERE key = ANY ($1::bigint[])"
        "  RETURNING host_id, fingerprint, process, build_id, records, count),"
        "parts (whole) AS (VALUES (false), (true)),"
        "by_host AS (SELECT host_id, fingerprint, whole, CASE WHEN whole THEN '' ELSE process END AS process,"
        "  count(*) AS builds, sum(records) AS records, sum(count) AS count FROM gone, parts GROUP BY 1, 2, 3, 4),"
        // What is deleted here is still seen here: a host is gone if that is all it has.
        "less AS (SELECT fingerprint, whole, process, sum(records) AS records, sum(count) AS count,"
        "  count(*) FILTER (WHERE builds = (SELECT count(*) FROM hakmem.incident AS i WHERE i.fingerprint ="
        "   h.fingerprint AND i.host_id = h.host_id AND (whole OR i.process = h.process))) AS hosts"
        "  FROM by_host AS h GROUP BY 1, 2, 3),"
        "bugs AS (UPDATE hakmem.bug AS b SET hosts = greatest(b.hosts - less.hosts, 0),"
        "  records = greatest(b.records - less.records, 0), count = greatest(b.count - less.count, 0) FROM less"
        "  WHERE (b.fingerprint, b.whole, b.process) = (less.fingerprint, less.whole, less.process)),"
        "sums AS (SELECT fingerprint, process, build_id, count(*) AS hosts, sum(records) AS records, sum(count) AS "
        "count"
        "  FROM gone GROUP BY 1, 2, 3)"
        "UPDATE hakmem.sighting AS s SET hosts = greatest(s.hosts - sums.hosts, 0),"
        " records = greatest(s.records - sums.records, 0), count = greatest(s.count - sums.count, 0) FROM sums"
        " WHERE (s.fingerprint, s.process, s.build_id) = (sums.fingerprint, sums.process, sums.build_id)",
        {keys});
    return true;
}

// The records of some pages of their table, from one end to the other: no index by time has to be kept for that.
bool FleetIncidents::expire_records(const std::string &before) {
    const std::uint64_t pages =
        expiry_.query("SELECT pg_relation_size('hakmem.record') / current_setting('block_size')::bigint").number(0, 0);
    const auto place = [](std::uint64_t page) { return "(" + std::to_string(page) + ",0)"; };
    expiry_.query("DELETE FROM hakmem.record WHERE ctid >= $1::tid AND ctid < $2::tid AND last_ns < $3::bigint",
                  {place(expired_pages_), place(expired_pages_ + kPagesAtOnce), before});
    expired_pages_ += kPagesAtOnce;
    if (expired_pages_ < pages) return true;
    expired_pages_ = 0;
    return false;
}

}  // namespace hakmem
