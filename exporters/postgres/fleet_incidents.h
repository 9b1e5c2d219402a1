// The incidents of all hosts, read from the fleet's PostgreSQL. Groups are made of its bugs, one row a fingerprint and
// process, whatever the number of hosts and builds; a question about a time or a build looks at the sightings, only one
// about a host at that host's incidents.
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

    // Deletes some of what was last seen before that; whether there is more.
    bool expire(std::uint64_t before_ns);

  private:
    Rows query(const std::string &sql, const Database::Parameters &parameters);
    void add_details(IncidentGroups &groups, const IncidentFilter &filter);
    bool expire_incidents(const std::string &before);
    bool expire_records(const std::string &before);

    Database database_;
    Database expiry_;                  // the page does not wait for what is deleted
    std::uint64_t expired_pages_ = 0;  // of the records, by the pass that is under way
};

}  // namespace hakmem
