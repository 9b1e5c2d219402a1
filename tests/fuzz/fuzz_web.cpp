// libFuzzer: what clients and people write to the web server: queries and web configurations. The
// first byte says which. Whatever the text, it is taken or refused with words, and what is taken is within its bounds.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "web/query.h"
#include "web/web_config.h"

namespace {

using namespace hakmem;

void check(bool right) {
    if (!right) std::abort();
}

// key=value&key=value…, as the server hands it on, undone of its percents.
QueryParameters parameters(const std::string &text) {
    QueryParameters all;
    for (std::size_t begin = 0; begin < text.size();) {
        const std::size_t end = std::min(text.find('&', begin), text.size());
        const std::string pair = text.substr(begin, end - begin);
        const std::size_t equals = pair.find('=');
        all.emplace(pair.substr(0, equals), equals == std::string::npos ? "" : pair.substr(equals + 1));
        begin = end + 1;
    }
    return all;
}

void query(const std::string &text) {
    for (const bool fleet : {false, true}) {
        IncidentFilter filter;
        bool flag = false;
        std::vector<Parameter> known = filter_parameters(filter, fleet);
        known.push_back(flag_parameter("flag", flag));
        if (!parse_query(parameters(text), known).empty()) continue;
        check(filter.limit >= 1 && filter.limit <= 10'000 && filter.offset <= 1'000'000'000);
        check(!filter.fingerprint || is_hash(*filter.fingerprint));
        check(!filter.process || filter.process->size() <= 256);
        check(fleet || (!filter.host && !filter.build_id));
    }
}

void configuration(const std::string &text) {
    static const std::string path = std::string(std::getenv("TMPDIR") != nullptr ? std::getenv("TMPDIR") : "/tmp") +
                                    "/web-" + std::to_string(getpid()) + ".yml";
    static const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0 && ftruncate(file, 0) == 0 &&
          pwrite(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
    std::string error;
    const std::optional<WebConfig> config = WebConfig::load(path, error);
    check(config.has_value() == error.empty());
    if (!config) return;
    check(config->cert_file.empty() == config->key_file.empty());
    for (const auto &[user, hash] : config->users) check(hash.starts_with("$2"));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    if (size == 0) return 0;
    const std::string text(reinterpret_cast<const char *>(data) + 1, size - 1);
    if (data[0] == 'c')
        configuration(text);
    else
        query(text);
    return 0;
}
