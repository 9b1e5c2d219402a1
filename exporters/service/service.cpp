#include "service/service.h"

#include <algorithm>

namespace hakmem {
namespace {

std::function<bool(std::uint64_t)> expiry_of(FleetIncidents *fleet) {
    if (fleet == nullptr) return {};
    return [fleet](std::uint64_t before_ns) { return fleet->expire(before_ns); };
}

// Where others reach the server, if they can.
std::string scraped_at(const std::string &host, ListenAddress address) {
    if (address.host.starts_with("127.") || address.host == "localhost" || address.host == "::1") return {};
    if (address.host == "0.0.0.0" || address.host == "::") address.host = host;
    return address.text();
}

}  // namespace

Service::Service(const ServiceOptions &options)
    : collector_(options.collector),
      store_(options.store_path, Store::Mode::create),
      fleet_(options.fleet_url.empty() ? nullptr : std::make_unique<FleetIncidents>(options.fleet_url)),
      ingest_(collector_, store_, options.retention_days, expiry_of(fleet_.get())) {
    if (options.listen) server_.emplace(*options.listen, options.web);
    const SinkSource source{options.host, store_.identity(),
                            server_ ? scraped_at(options.host, server_->address()) : ""};
    for (const std::string &url : options.sinks) {
        const std::string name = sink_name(url);
        if (std::any_of(forwarders_.begin(), forwarders_.end(),
                        [&](const auto &other) { return other->status().name == name; }))
            throw std::invalid_argument("--sink " + name + " is given twice");
        try {
            forwarders_.push_back(std::make_unique<Forwarder>(store_, make_sink(url, source), name));
        } catch (const std::invalid_argument &error) {
            throw std::invalid_argument("--sink " + name + " " + error.what());
        }
    }
    if (!server_) return;
    routes_.emplace(
        collector_, ingest_, fleet_ ? static_cast<IncidentReader &>(*fleet_) : store_, server_->address().text(),
        [this] { return sinks(); }, fleet_ != nullptr);
}

std::vector<SinkStatus> Service::sinks() {
    std::vector<SinkStatus> all;
    for (const auto &forwarder : forwarders_) all.push_back(forwarder->status());
    return all;
}

std::string Service::url() const { return server_ ? server_->url() : std::string(); }

void Service::start() {
    collector_.refresh();
    ingest_.start();
    for (const auto &forwarder : forwarders_) forwarder->start();
    if (server_) server_->start(*routes_);
}

void Service::finish() {
    if (server_) server_->stop();
    ingest_.finish();
    for (const auto &forwarder : forwarders_) forwarder->finish();
    store_.checkpoint();
}

}  // namespace hakmem
