#include "web/page.h"

#include "text/text.h"
#include "version.h"

namespace hakmem {
namespace {

constexpr const char *kHead = R"(<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>hakmem</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.ended { opacity: .6; }
</style></head><body><h1>hakmem</h1>
)";

void append_cell(std::string &out, const std::string &text, bool number = false) {
    out += number ? "<td class=\"n\">" : "<td>";
    out += text::html_escape(text) + "</td>";
}

}  // namespace

std::string status_page(const std::vector<segment::Snapshot> &processes, const std::vector<IncidentGroup> &groups) {
    std::string out = kHead;
    out += "<h2>Processes</h2>\n";
    if (processes.empty()) {
        out += "<p>None.</p>\n";
    } else {
        out +=
            "<table><tr><th>Process<th class=\"n\">PID<th>Level<th>Since<th>State<th class=\"n\">Live"
            "<th class=\"n\">Mapped<th class=\"n\">Incidents</tr>\n";
        for (const segment::Snapshot &process : processes) {
            out += process.alive ? "<tr>" : "<tr class=\"ended\">";
            append_cell(out, process.process);
            append_cell(out, std::to_string(process.pid), true);
            append_cell(out, segment::kLevelNames[static_cast<std::size_t>(process.level)]);
            append_cell(out, text::rfc3339(process.start_time_ns));
            append_cell(out, process.alive ? "running" : "ended");
            append_cell(out, text::human_bytes(process.counters.live_bytes()), true);
            append_cell(out, text::human_bytes(process.gauges.mapped_bytes), true);
            append_cell(out, std::to_string(process.counters.all_incidents()), true);
            out += "</tr>\n";
        }
        out += "</table>\n";
    }
    out += "<h2>Incidents</h2>\n";
    if (groups.empty()) {
        out += "<p>None.</p>\n";
    } else {
        out +=
            "<table><tr><th>Kind<th>Process<th class=\"n\">Count<th>First seen<th>Last seen<th>Fingerprint"
            "<th>Latest</tr>\n";
        for (const IncidentGroup &group : groups) {
            const std::string fingerprint = text::html_escape(group.fingerprint);
            const std::string id = text::html_escape(group.latest_id);
            out += "<tr>";
            append_cell(out, group.kind);
            append_cell(out, group.process);
            append_cell(out, std::to_string(group.count), true);
            append_cell(out, text::rfc3339(group.first_ns));
            append_cell(out, text::rfc3339(group.last_ns));
            out += "<td><a href=\"/api/v1/incidents?fingerprint=" + fingerprint + "\">" + fingerprint + "</a></td>";
            out += "<td><a href=\"/api/v1/incidents/" + id + "\">" + id + "</a></td></tr>\n";
        }
        out += "</table>\n";
    }
    out +=
        "<p><a href=\"/metrics\">Metrics</a> · <a href=\"/api/v1/processes\">Processes as JSON</a> · "
        "<a href=\"/api/v1/incidents\">Incidents as JSON</a> · version " HAKMEM_VERSION "</p>\n</body></html>\n";
    return out;
}

}  // namespace hakmem
