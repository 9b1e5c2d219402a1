#include "sink/otlp_sink.h"

#include <curl/curl.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <cstdlib>
#include <map>

#include "incident/site.h"
#include "otlp_logs.pb.h"
#include "text/text.h"
#include "version.h"
#include "web/gzip.h"

namespace hakmem {
namespace {

constexpr std::string_view kPlain = "otlp+http://", kTls = "otlp+https://", kPrefix = "otlp+";
constexpr const char *kPath = "/v1/logs";
constexpr long kConnectTimeoutMs = 10'000, kTimeoutMs = 30'000;
constexpr std::size_t kMaxAnswer = 64 * 1024;
constexpr unsigned kSeverityError = 17;
constexpr long kBadRequest = 400, kTooLarge = 413, kUnprocessable = 422;

const char *environment(const char *name) {
    const char *value = std::getenv(name);
    return value != nullptr && value[0] != '\0' ? value : nullptr;
}

void add(google::protobuf::RepeatedPtrField<otlp::KeyValue> *attributes, const char *key, const std::string &value) {
    if (value.empty()) return;
    otlp::KeyValue *attribute = attributes->Add();
    attribute->set_key(key);
    attribute->mutable_value()->set_string_value(value);
}

void add(google::protobuf::RepeatedPtrField<otlp::KeyValue> *attributes, const char *key, std::uint64_t value) {
    otlp::KeyValue *attribute = attributes->Add();
    attribute->set_key(key);
    attribute->mutable_value()->set_int_value(static_cast<std::int64_t>(std::min<std::uint64_t>(value, INT64_MAX)));
}

void fill(otlp::LogRecord &record, const SinkItem &item, std::uint64_t now_ns) {
    const Incident &incident = item.incident;
    const std::string kind = segment::kKindNames[static_cast<std::size_t>(incident.kind)];
    const std::string where = site(incident);
    record.set_time_unix_nano(incident.last_ns);
    record.set_observed_time_unix_nano(now_ns);
    record.set_severity_number(kSeverityError);
    record.set_severity_text("ERROR");
    record.set_event_name("hakmem.incident");
    record.mutable_body()->set_string_value(kind + " in " + incident.process + " at " + where);
    auto *attributes = record.mutable_attributes();
    add(attributes, "log.record.uid", incident.id + "-" + std::to_string(incident.count));
    add(attributes, "hakmem.incident.id", incident.id);
    add(attributes, "hakmem.incident.kind", kind);
    add(attributes, "hakmem.incident.fingerprint", incident.fingerprint);
    add(attributes, "hakmem.incident.count", incident.count);
    add(attributes, "hakmem.incident.first_seen", text::rfc3339(incident.first_ns));
    add(attributes, "hakmem.incident.site", where);
    add(attributes, "hakmem.incident.other_site", other_site(incident));
    add(attributes, "hakmem.incident.build_id", site_frame(incident).build_id);
    add(attributes, "hakmem.incident.json", item.json);
    add(attributes, "process.pid", incident.pid);
    add(attributes, "thread.id", incident.tid);
    add(attributes, "thread.name", incident.thread);
}

// One resource a process name and executable.
otlp::ExportLogsServiceRequest request_of(const SinkBatch &batch, const std::string &host) {
    otlp::ExportLogsServiceRequest request;
    std::map<std::pair<std::string, std::string>, otlp::ScopeLogs *> resources;
    const std::uint64_t now_ns = text::unix_ms() * 1'000'000;
    for (const SinkItem &item : batch.items) {
        otlp::ScopeLogs *&logs = resources[{item.incident.process, item.incident.exe}];
        if (logs == nullptr) {
            otlp::ResourceLogs *resource = request.add_resource_logs();
            auto *attributes = resource->mutable_resource()->mutable_attributes();
            add(attributes, "service.name", item.incident.process);
            add(attributes, "host.name", host);
            add(attributes, "process.executable.path", item.incident.exe);
            logs = resource->add_scope_logs();
            logs->mutable_scope()->set_name("hakmem");
            logs->mutable_scope()->set_version(HAKMEM_VERSION);
        }
        fill(*logs->add_log_records(), item, now_ns);
    }
    return request;
}

// The standard's own form: key=value,key=value with percent-encoded values.
curl_slist *with_headers_of_environment(CURL *curl, curl_slist *headers) {
    const char *given = environment("OTEL_EXPORTER_OTLP_HEADERS");
    std::string rest = given != nullptr ? given : "";
    while (!rest.empty()) {
        const std::size_t comma = rest.find(',');
        const std::string pair = rest.substr(0, comma);
        rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
        const std::size_t equals = pair.find('=');
        if (equals == std::string::npos) continue;
        int bytes = 0;
        char *value = curl_easy_unescape(curl, pair.c_str() + equals + 1, 0, &bytes);
        const std::string line = pair.substr(0, equals) + ": " + std::string(value, static_cast<std::size_t>(bytes));
        curl_free(value);
        if (line.find_first_of("\r\n") == std::string::npos) headers = curl_slist_append(headers, line.c_str());
    }
    return headers;
}

std::size_t take_answer(char *bytes, std::size_t, std::size_t count, void *into) {
    auto &text = *static_cast<std::string *>(into);
    text.append(bytes, std::min(count, kMaxAnswer - std::min(kMaxAnswer, text.size())));
    return count;
}

int go_on(void *interrupted, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<std::atomic<bool> *>(interrupted)->load() ? 1 : 0;
}

}  // namespace

struct OtlpSink::Answer {
    long status = 0;
    std::string body;
    std::optional<std::chrono::seconds> retry_after;
};

struct OtlpSink::Connection {
    CURL *curl = curl_easy_init();
    curl_slist *headers = nullptr;
    ~Connection() {
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
    }
};

bool is_otlp_url(const std::string &url) { return url.starts_with(kPlain) || url.starts_with(kTls); }

OtlpSink::OtlpSink(const std::string &url, SinkSource source) : source_(std::move(source)) {
    std::string rest = url.substr(kPrefix.size());
    if (const std::size_t question = rest.find('?'); question != std::string::npos) {
        std::string options = rest.substr(question + 1);
        rest.resize(question);
        while (!options.empty()) {
            const std::size_t end = options.find('&');
            const std::string option = options.substr(0, end);
            options = end == std::string::npos ? "" : options.substr(end + 1);
            if (option == "encoding=json" || option == "encoding=protobuf")
                json_ = option == "encoding=json";
            else if (option == "compression=none" || option == "compression=gzip")
                gzip_ = option == "compression=gzip";
            else
                throw std::invalid_argument("unknown option " + text::clean(option) +
                                            "; valid are encoding=protobuf|json and compression=gzip|none");
        }
    }
    const std::size_t host = rest.find("://") + 3, path = rest.find('/', host);
    if (path == host || rest.size() == host) throw std::invalid_argument("names no host");
    url_ = path == std::string::npos || path + 1 == rest.size() ? rest.substr(0, path) + kPath : rest;
    CURLU *parts = curl_url();
    const CURLUcode wrong = curl_url_set(parts, CURLUPART_URL, url_.c_str(), 0);
    curl_url_cleanup(parts);
    if (wrong != CURLUE_OK) throw std::invalid_argument(std::string("is no URL: ") + curl_url_strerror(wrong));
    static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (initialized != CURLE_OK) throw std::runtime_error("libcurl cannot be initialized");
}

OtlpSink::~OtlpSink() = default;

void OtlpSink::idle() { connection_.reset(); }

OtlpSink::Answer OtlpSink::post(const std::string &body) {
    if (!connection_) {
        connection_ = std::make_unique<Connection>();
        CURL *curl = connection_->curl;
        if (curl == nullptr) throw std::bad_alloc();
        curl_slist *headers = curl_slist_append(
            nullptr, json_ ? "Content-Type: application/json" : "Content-Type: application/x-protobuf");
        if (gzip_) headers = curl_slist_append(headers, "Content-Encoding: gzip");
        headers = curl_slist_append(headers, "Expect:");  // the body goes at once
        connection_->headers = with_headers_of_environment(curl, headers);
        curl_easy_setopt(curl, CURLOPT_URL, url_.c_str());
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, connection_->headers);
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "hakmem/" HAKMEM_VERSION);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, kTimeoutMs);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_answer);
        curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, go_on);
        curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &interrupted_);
        const std::pair<const char *, CURLoption> files[] = {{"OTEL_EXPORTER_OTLP_CERTIFICATE", CURLOPT_CAINFO},
                                                             {"OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", CURLOPT_SSLCERT},
                                                             {"OTEL_EXPORTER_OTLP_CLIENT_KEY", CURLOPT_SSLKEY}};
        for (const auto &[name, option] : files)
            if (const char *file = environment(name); file != nullptr) curl_easy_setopt(curl, option, file);
    }
    CURL *curl = connection_->curl;
    Answer answer;
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer.body);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.data());
    curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    if (const CURLcode result = curl_easy_perform(curl); result != CURLE_OK) {
        connection_.reset();
        throw SinkError(SinkError::Reason::unreachable, std::string("OTLP: ") + curl_easy_strerror(result));
    }
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer.status);
    curl_off_t seconds = 0;
    curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &seconds);
    if (seconds > 0) answer.retry_after = std::chrono::seconds(seconds);
    return answer;
}

std::uint64_t OtlpSink::deliver(const SinkBatch &batch) {
    if (batch.items.empty()) return 0;
    const otlp::ExportLogsServiceRequest request = request_of(batch, source_.host);
    std::string body;
    if (json_) {
        google::protobuf::util::JsonPrintOptions options;
        options.always_print_enums_as_ints = true;
        if (!google::protobuf::util::MessageToJsonString(request, &body, options).ok())
            throw SinkError(SinkError::Reason::refused, "OTLP: the incidents have no JSON form");
    } else {
        body = request.SerializeAsString();
    }
    const Answer answer = post(gzip_ ? compress(body) : body);
    if (answer.status >= 200 && answer.status < 300) {
        otlp::ExportLogsServiceResponse response;
        google::protobuf::util::JsonParseOptions lenient;
        lenient.ignore_unknown_fields = true;
        const bool understood = json_
                                    ? google::protobuf::util::JsonStringToMessage(answer.body, &response, lenient).ok()
                                    : response.ParseFromString(answer.body);
        const std::int64_t rejected = understood ? response.partial_success().rejected_log_records() : 0;
        return static_cast<std::uint64_t>(std::max<std::int64_t>(rejected, 0));
    }
    // What the other end says about these very data is final. All else may be its configuration or ours: nothing is
    // given up for that.
    const SinkError::Reason reason = answer.status == kTooLarge ? SinkError::Reason::too_large
                                     : answer.status == kBadRequest || answer.status == kUnprocessable
                                         ? SinkError::Reason::refused
                                         : SinkError::Reason::unreachable;
    throw SinkError(reason, "OTLP: the receiver answered " + std::to_string(answer.status), answer.retry_after);
}

}  // namespace hakmem
