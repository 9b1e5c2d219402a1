// TLS and basic authentication of the web server, from a file in the format of Prometheus's --web.config.file:
// tls_server_config with cert_file and key_file, basic_auth_users with bcrypt hashes.
#pragma once

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

namespace hakmem {

struct WebConfig {
    std::string cert_file;  // empty: no TLS
    std::string key_file;
    std::map<std::string, std::string> users;  // bcrypt hash by name; empty: no authentication

    bool tls() const { return !cert_file.empty(); }

    // Empty, with `error` filled, if the file cannot be read or says what is not understood.
    static std::optional<WebConfig> load(const std::string &path, std::string &error);
};

// Checks the Authorization header of requests. Thread-safe.
class BasicAuth {
  public:
    explicit BasicAuth(std::map<std::string, std::string> users) : users_(std::move(users)) {}
    bool allows(const std::string &authorization);

  private:
    const std::map<std::string, std::string> users_;
    std::mutex mutex_;
    // Digests of accepted headers: bcrypt is slow on purpose, and a scraper sends the same header each time.
    std::set<std::array<unsigned char, 32>> accepted_;
};

}  // namespace hakmem
