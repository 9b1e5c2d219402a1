// The parts of an exporter put together: collector, incident store, ingest, sinks and web server. `hakmem exporter`
// runs one, `hakmem run` has one beside the command it watches.
//
// Made with `new` and never destroyed: a slow client's connection may use it to the end of the process.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "collect/collector.h"
#include "collect/ingest.h"
#include "postgres/fleet_incidents.h"
#include "sink/forwarder.h"
#include "store/store.h"
#include "web/routes.h"
#include "web/server.h"

namespace hakmem {

struct ServiceOptions {
    CollectorOptions collector;
    std::string store_path;
    unsigned retention_days = 0;
    std::vector<std::string> sinks;  // their URLs
    std::string fleet_url;           // of the database whose incidents are shown; empty: those of this host's store
    std::string host;                // what this one is called there
    std::optional<ListenAddress> listen;  // empty: no web server
    WebConfig web;
};

class Service {
  public:
    // Binds the address and opens the store. Throws std::runtime_error with a text for people.
    explicit Service(const ServiceOptions &options);
    Service(const Service &) = delete;
    Service &operator=(const Service &) = delete;

    // Empty where there is no web server.
    std::string url() const;
    void start();
    // Stops serving, takes the last incidents, sends them to the sinks that answer and completes the store's file.
    void finish();

    Collector &collector() { return collector_; }

  private:
    std::vector<SinkStatus> sinks();

    std::optional<WebServer> server_;
    Collector collector_;
    Store store_;
    std::unique_ptr<FleetIncidents> fleet_;
    Ingest ingest_;
    std::vector<std::unique_ptr<Forwarder>> forwarders_;
    std::optional<Routes> routes_;
};

}  // namespace hakmem
