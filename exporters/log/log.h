// The command's own log, on stderr. A thin face over spdlog, whose headers are heavy.
#pragma once

#include <string>

namespace hakmem::log {

// trace, debug, info, warn, error or off; false for anything else.
bool set_level(const std::string &level);
inline constexpr const char *kDefaultLevel = "warn";

void debug(const std::string &text);
void info(const std::string &text);
void warn(const std::string &text);
void error(const std::string &text);

}  // namespace hakmem::log
