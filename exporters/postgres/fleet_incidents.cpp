#include "postgres/fleet_incidents.h"

#include <algorithm>
#include <map>

#include "postgres/schema.h"

namespace hakmem {
namespace {

constexpr std::chrono::seconds kTimeout{20};
constexpr std::uint64_t kMaxFacets = 1'000;
constexpr std::uint64_t kMaxBuilds = 20;  // of one group

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

// Every parameter is named, for a server wants to know the type of each.
std::string where(const IncidentFilter &filter) {
    std::string sql =
        " WHERE ($1::text IS NULL OR process = $1) AND ($2::text IS NULL OR kind = $2)"
        " AND ($6::bigint IS NULL OR last_ns >= $6) AND ($7::bigint IS NULL OR first_ns <= $7)"
        " AND $8::bigint >= 0 AND $9::bigint >= 0 AND ($5::text IS NULL OR true)";
    // As plain conditions where they are asked for: by these there are indexes.
    sql += filter.fingerprint ? " AND fingerprint = $3" : " AND $3::text IS NULL";
    sql += filter.build_id ? " AND build_id = $4" : " AND $4::text IS NULL";
    if (filter.host) sql += " AND host_id = (SELECT host.id FROM hakmem.host WHERE host.name = $5)";
    return sql;
}

// What groups are made of, with the same names of columns.
std::string from(const IncidentFilter &filter) {
    return filter.host ? " FROM (SELECT *, 1::bigint AS hosts FROM hakmem.incident) AS seen"
                       : " FROM hakmem.sighting AS seen";
}

constexpr const char *kNewestFirst = " ORDER BY last_ns DESC, first_ns DESC, id LIMIT $8 OFFSET $9";

}  // namespace

FleetIncidents::FleetIncidents(const std::string &url) : database_(url, kTimeout, migrate_fleet) {
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
    IncidentGroups all;
    const Database::Parameters parameters = parameters_of(filter);
    const Rows sums = query(
        "SELECT count(DISTINCT fingerprint), coalesce(sum(records), 0)::bigint,"
        " coalesce(sum(count), 0)::bigint" +
            from(filter) + where(filter),
        parameters);
    all.all_groups = sums.number(0, 0);
    all.all_incidents = sums.number(0, 1);
    all.all_count = sums.number(0, 2);

    // The columns that are not sums are those of the latest sighting.
    const Rows found = query(
        "WITH seen AS MATERIALIZED (SELECT *" + from(filter) + where(filter) +
            "), grouped AS (SELECT fingerprint, sum(records)::bigint AS records, sum(count)::bigint AS count,"
            " min(first_ns) AS first_ns, max(last_ns) AS last_ns, string_agg(DISTINCT process, E'\\n') AS processes"
            " FROM seen GROUP BY fingerprint ORDER BY max(last_ns) DESC, fingerprint LIMIT $8 OFFSET $9)"
            " SELECT DISTINCT ON (grouped.last_ns, fingerprint) fingerprint, kind, id, site, caller, other_site,"
            " grouped.records, grouped.count, grouped.first_ns, grouped.last_ns, processes FROM grouped JOIN seen"
            " USING (fingerprint) ORDER BY grouped.last_ns DESC, fingerprint, seen.last_ns DESC",
        parameters);
    for (int i = 0; i < found.size(); ++i) {
        IncidentGroup group{found.text(i, 0),
                            found.text(i, 1),
                            found.text(i, 2),
                            found.text(i, 3),
                            found.text(i, 4),
                            found.text(i, 5),
                            {},
                            found.number(i, 6),
                            found.number(i, 7),
                            found.number(i, 8),
                            found.number(i, 9),
                            0,
                            {},
                            0};
        // Names are clean text: no line break is in them.
        for (std::string rest = found.text(i, 10); !rest.empty();) {
            const std::size_t end = rest.find('\n');
            group.processes.push_back(rest.substr(0, end));
            rest = end == std::string::npos ? "" : rest.substr(end + 1);
        }
        all.groups.push_back(std::move(group));
    }
    add_builds(all, filter);

    IncidentFilter other = filter;
    other.kind.reset();
    all.kinds = facets("kind", other);
    other = filter;
    other.process.reset();
    all.processes = facets("process", other);
    return all;
}

// Of each group: its hosts, whatever else is filtered by, and its builds: the one that was seen first, then the latest.
void FleetIncidents::add_builds(IncidentGroups &groups, const IncidentFilter &filter) {
    if (groups.groups.empty()) return;
    std::map<std::string, IncidentGroup *> places;
    std::string prints = "{";
    for (IncidentGroup &group : groups.groups) {
        places[group.fingerprint] = &group;
        prints += (prints.size() == 1 ? "" : ",") + group.fingerprint;
    }
    prints += "}";
    const Rows hosts = query(
        "SELECT fingerprint, count(DISTINCT host_id) FROM hakmem.incident WHERE fingerprint = ANY ($1::text[])"
        " AND ($2::text IS NULL OR process = $2) AND ($3::text IS NULL OR build_id = $3) GROUP BY fingerprint",
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

std::vector<Facet> FleetIncidents::facets(const char *column, const IncidentFilter &filter) {
    IncidentFilter all = filter;
    all.limit = kMaxFacets;
    all.offset = 0;
    const Rows found = query(std::string("SELECT ") + column + ", count(DISTINCT fingerprint), sum(count)::bigint" +
                                 from(all) + where(all) + " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT $8 OFFSET $9",
                             parameters_of(all));
    std::vector<Facet> facets;
    for (int i = 0; i < found.size(); ++i) facets.push_back({found.text(i, 0), found.number(i, 1), found.number(i, 2)});
    return facets;
}

std::optional<std::vector<FleetHost>> FleetIncidents::hosts() {
    const Rows found = query("SELECT name, address FROM hakmem.host WHERE address <> $1 ORDER BY name", {""});
    std::vector<FleetHost> hosts;
    for (int i = 0; i < found.size(); ++i) hosts.push_back({found.text(i, 0), found.text(i, 1)});
    return hosts;
}

void FleetIncidents::expire(std::uint64_t before_ns) {
    for (const char *table : {"record", "incident", "sighting"})
        query(std::string("DELETE FROM hakmem.") + table + " WHERE last_ns < $1::bigint", {std::to_string(before_ns)});
}

}  // namespace hakmem
