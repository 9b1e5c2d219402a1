#include "store/json.h"

#include <nlohmann/json.hpp>

#include "incident/site.h"
#include "text/text.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const std::vector<Facet> &facets) {
    Json list = Json::array();
    for (const Facet &facet : facets)
        list.push_back({{"name", text::clean(facet.name)}, {"groups", facet.groups}, {"count", facet.count}});
    return list;
}

Json to_json(const std::vector<IncidentBuild> &builds) {
    Json list = Json::array();
    for (const IncidentBuild &build : builds)
        list.push_back({{"build_id", text::clean(build.build_id)},
                        {"module", text::clean(build.module)},
                        {"hosts", build.hosts},
                        {"count", build.count},
                        {"first_seen", text::rfc3339(build.first_ns)},
                        {"last_seen", text::rfc3339(build.last_ns)}});
    return list;
}

// null: no call of the program led to it, an audit or the allocator in passing noticed it.
Json site_or_null(const std::string &site) { return site == kNoSite ? Json() : Json(text::clean(site)); }

}  // namespace

Json to_json(const IncidentGroups &groups) {
    Json list = Json::array();
    for (const IncidentGroup &group : groups.groups) {
        Json out;
        out["fingerprint"] = group.fingerprint;
        out["kind"] = group.kind;
        out["site"] = site_or_null(group.site);
        if (!group.caller.empty()) out["caller"] = text::clean(group.caller);
        if (!group.other_site.empty()) out["other_site"] = text::clean(group.other_site);
        out["processes"] = group.processes;
        out["incidents"] = group.incidents;
        out["count"] = group.count;
        out["first_seen"] = text::rfc3339(group.first_ns);
        out["last_seen"] = text::rfc3339(group.last_ns);
        out["latest"] = group.latest_id;
        if (group.hosts != 0) {
            out["hosts"] = group.hosts;
            out["builds"] = to_json(group.builds);
            out["all_builds"] = group.all_builds;
        }
        list.push_back(std::move(out));
    }
    Json out;
    out["groups"] = std::move(list);
    out["all_groups"] = groups.all_groups;
    out["all_incidents"] = groups.all_incidents;
    out["all_count"] = groups.all_count;
    out["kinds"] = to_json(groups.kinds);
    out["processes"] = to_json(groups.processes);
    return out;
}

Json to_json(const IncidentSummary &summary) {
    Json out;
    out["id"] = summary.id;
    out["kind"] = summary.kind;
    if (!summary.host.empty()) out["host"] = text::clean(summary.host);
    if (!summary.build_id.empty()) out["build_id"] = text::clean(summary.build_id);
    out["process"] = text::clean(summary.process);
    out["pid"] = summary.pid;
    out["thread"] = text::clean(summary.thread);
    out["level"] = summary.level;
    out["site"] = site_or_null(summary.site);
    if (!summary.other_site.empty()) out["other_site"] = text::clean(summary.other_site);
    out["fingerprint"] = summary.fingerprint;
    out["count"] = summary.count;
    out["first_seen"] = text::rfc3339(summary.first_ns);
    out["last_seen"] = text::rfc3339(summary.last_ns);
    return out;
}

}  // namespace hakmem
