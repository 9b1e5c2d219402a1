#include "service/service.h"

namespace hakmem {

Service::Service(const ServiceOptions &options)
    : collector_(options.collector),
      store_(options.store_path, Store::Mode::create),
      ingest_(collector_, store_, options.retention_days) {
    if (!options.listen) return;
    server_.emplace(*options.listen, options.web);
    routes_.emplace(collector_, ingest_, store_, server_->address().text());
}

std::string Service::url() const { return server_ ? server_->url() : std::string(); }

void Service::start() {
    collector_.refresh();
    ingest_.start();
    if (server_) server_->start(*routes_);
}

void Service::finish() {
    if (server_) server_->stop();
    ingest_.finish();
    store_.checkpoint();
}

}  // namespace hakmem
