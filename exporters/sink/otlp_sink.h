// Incidents as OTLP logs over HTTP, for any OpenTelemetry collector.
//
//   otlp+http://HOST[:PORT][/PATH][?encoding=json][&compression=none]       otlp+https://… for TLS
//
// The path is /v1/logs where none is given. Headers and certificates come from the environment, by OpenTelemetry's own
// names: OTEL_EXPORTER_OTLP_HEADERS, OTEL_EXPORTER_OTLP_CERTIFICATE, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and
// OTEL_EXPORTER_OTLP_CLIENT_KEY. Each state of an incident has a `log.record.uid`: records of equal uid are one.
#pragma once

#include <atomic>
#include <memory>

#include "sink/sink.h"

namespace hakmem {

class OtlpSink : public Sink {
  public:
    // Throws std::invalid_argument if the URL is none of the above.
    OtlpSink(const std::string &url, SinkSource source);
    ~OtlpSink() override;

    std::uint64_t deliver(const SinkBatch &batch) override;
    void idle() override;
    void interrupt() override { interrupted_ = true; }

  private:
    struct Answer;
    Answer post(const std::string &body);

    struct Connection;
    const SinkSource source_;
    std::string url_;
    bool json_ = false;
    bool gzip_ = true;
    std::atomic<bool> interrupted_ = false;
    std::unique_ptr<Connection> connection_;
};

bool is_otlp_url(const std::string &url);

}  // namespace hakmem
