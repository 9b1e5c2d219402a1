// The incidents of all hosts, read from the fleet's PostgreSQL. Groups are made of its sightings, one row a
// fingerprint, process and build, whatever the number of hosts; only a question about one host looks at that host's
// incidents.
#pragma once

#include <mutex>

#include "postgres/database.h"
#include "store/incident_reader.h"

namespace hakmem {

class FleetIncidents : public IncidentReader {
  public:
    explicit FleetIncidents(const std::string &url);

    std::vector<std::string> list(const IncidentFilter &filter) override;
    std::vector<IncidentSummary> summaries(const IncidentFilter &filter) override;
    // An incident that a later one of the same place on the same host has taken the row of answers with that one.
    std::optional<std::string> find(const std::string &id, int &matches) override;
    IncidentGroups groups(const IncidentFilter &filter) override;

    std::optional<std::vector<FleetHost>> hosts() override;

    // Deletes what was last seen before that.
    void expire(std::uint64_t before_ns);

  private:
    Rows query(const std::string &sql, const Database::Parameters &parameters);
    std::vector<Facet> facets(const char *column, const IncidentFilter &filter);
    void add_builds(IncidentGroups &groups, const IncidentFilter &filter);

    Database database_;
};

}  // namespace hakmem
