#include "web/web_config.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <yaml-cpp/yaml.h>

#include <cstring>
#include <memory>
#include <string_view>

namespace hakmem {
namespace {

constexpr std::string_view kBasic = "Basic ";
constexpr std::size_t kMaxHeader = 1024;
constexpr std::size_t kMaxAccepted = 64;
// What an unknown user's password is checked against, so that the answer takes as long as for a known one.
constexpr const char *kNobody = "$2b$10$abcdefghijklmnopqrstuuEJ0P9IXWQQ6ZPbcjJoQz9IF9lkMEqvC";

// Paths in the file are relative to its folder.
std::string relative_to(const std::string &config, const std::string &path) {
    const auto slash = config.rfind('/');
    return path.empty() || path[0] == '/' || slash == std::string::npos ? path : config.substr(0, slash + 1) + path;
}

std::string parse(const YAML::Node &root, const std::string &path, WebConfig &config) {
    if (root.IsNull()) return {};
    if (!root.IsMap()) return "is not a mapping";
    for (const auto &entry : root) {
        const auto key = entry.first.as<std::string>();
        if (key == "tls_server_config") {
            for (const auto &field : entry.second) {
                const auto name = field.first.as<std::string>();
                if (name == "cert_file")
                    config.cert_file = relative_to(path, field.second.as<std::string>());
                else if (name == "key_file")
                    config.key_file = relative_to(path, field.second.as<std::string>());
                else
                    return "tls_server_config: " + name + " is not supported; valid are cert_file, key_file";
            }
            if (config.cert_file.empty() || config.key_file.empty())
                return "tls_server_config needs cert_file and key_file";
        } else if (key == "basic_auth_users") {
            for (const auto &user : entry.second) {
                const auto hash = user.second.as<std::string>();
                if (!hash.starts_with("$2")) return "basic_auth_users: the hash of a user is not bcrypt's";
                config.users[user.first.as<std::string>()] = hash;
            }
            if (config.users.empty()) return "basic_auth_users names nobody";
        } else {
            return key + " is not supported; valid are tls_server_config, basic_auth_users";
        }
    }
    return {};
}

std::optional<std::string> decode_base64(std::string_view text) {
    if (text.empty() || text.size() % 4 != 0) return std::nullopt;
    std::string out(text.size() / 4 * 3, '\0');
    const int bytes =
        EVP_DecodeBlock(reinterpret_cast<unsigned char *>(out.data()),
                        reinterpret_cast<const unsigned char *>(text.data()), static_cast<int>(text.size()));
    if (bytes < 0) return std::nullopt;
    out.resize(static_cast<std::size_t>(bytes) - (text.ends_with("==") ? 2 : text.ends_with("=") ? 1 : 0));
    return out;
}

bool matches(const std::string &password, const std::string &hash) {
    const auto data = std::make_unique<crypt_data>();
    std::memset(data.get(), 0, sizeof *data);
    const char *computed = ::crypt_r(password.c_str(), hash.c_str(), data.get());
    return computed != nullptr && std::strlen(computed) == hash.size() &&
           CRYPTO_memcmp(computed, hash.data(), hash.size()) == 0;
}

}  // namespace

std::optional<WebConfig> WebConfig::load(const std::string &path, std::string &error) {
    WebConfig config;
    try {
        error = parse(YAML::LoadFile(path), path, config);
    } catch (const YAML::BadFile &) {
        error = "cannot be read";
    } catch (const YAML::Exception &exception) {
        error = exception.what();
    }
    if (!error.empty()) {
        error = path + ": " + error;
        return std::nullopt;
    }
    return config;
}

bool BasicAuth::allows(const std::string &authorization) {
    if (users_.empty()) return true;
    if (!authorization.starts_with(kBasic) || authorization.size() > kMaxHeader) return false;
    std::array<unsigned char, 32> digest{};
    static_assert(SHA256_DIGEST_LENGTH == sizeof digest);
    SHA256(reinterpret_cast<const unsigned char *>(authorization.data()), authorization.size(), digest.data());
    {
        const std::lock_guard lock(mutex_);
        if (accepted_.contains(digest)) return true;
    }
    const auto credentials = decode_base64(std::string_view(authorization).substr(kBasic.size()));
    if (!credentials) return false;
    const auto colon = credentials->find(':');
    if (colon == std::string::npos) return false;
    const auto user = users_.find(credentials->substr(0, colon));
    const bool right = matches(credentials->substr(colon + 1), user != users_.end() ? user->second : kNobody);
    if (!right || user == users_.end()) return false;
    const std::lock_guard lock(mutex_);
    if (accepted_.size() >= kMaxAccepted) accepted_.clear();
    accepted_.insert(digest);
    return true;
}

}  // namespace hakmem
