// Sinks by their URLs.
#include "postgres/database.h"
#include "sink/otlp_sink.h"
#include "sink/postgres_sink.h"
#include "text/text.h"

namespace hakmem {

std::string sink_name(const std::string &url) {
    const std::size_t colon = url.find("://");
    if (colon == std::string::npos) return "without ://";  // what it is may be a secret
    const std::size_t host = colon + 3;
    const std::string rest = url.substr(host, url.find_first_of("?#", host) - host);
    // Behind the last of these: rather a part of the path too little than a part of a password.
    const std::size_t at = rest.rfind('@');
    return text::clean(url.substr(0, host) + (at == std::string::npos ? rest : rest.substr(at + 1)));
}

std::unique_ptr<Sink> make_sink(const std::string &url, const SinkSource &source) {
    if (is_postgres_url(url)) {
        if (!can_read_postgres_url(url)) throw std::invalid_argument(kUnreadableUrl);
        return std::make_unique<PostgresSink>(url, source);
    }
    if (!is_otlp_url(url))
        throw std::invalid_argument("is neither postgresql://… nor otlp+http://… nor otlp+https://…");
    return std::make_unique<OtlpSink>(url, source);
}

}  // namespace hakmem
