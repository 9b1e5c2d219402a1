// Sinks by their URLs.
#include "postgres/database.h"
#include "sink/otlp_sink.h"
#include "sink/postgres_sink.h"
#include "text/text.h"

namespace hakmem {

std::string sink_name(const std::string &url) {
    const std::size_t host = url.find("://") + 3;
    const std::string rest = url.substr(host, url.find_first_of("?#", host) - host);
    // A password may hold anything but what ends the authority.
    const std::size_t at = rest.substr(0, rest.find('/')).rfind('@');
    return text::clean(url.substr(0, host) + (at == std::string::npos ? rest : rest.substr(at + 1)));
}

std::unique_ptr<Sink> make_sink(const std::string &url, const SinkSource &source) {
    if (is_postgres_url(url)) return std::make_unique<PostgresSink>(url, source);
    if (!is_otlp_url(url))
        throw std::invalid_argument("is neither postgresql://… nor otlp+http://… nor otlp+https://…");
    return std::make_unique<OtlpSink>(url, source);
}

}  // namespace hakmem
