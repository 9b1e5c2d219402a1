#include "log/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

namespace hakmem::log {
namespace {

spdlog::logger &logger() {
    static spdlog::logger instance = [] {
        spdlog::logger made("hakmem", std::make_shared<spdlog::sinks::stderr_sink_mt>());
        made.set_pattern("hakmem: %l: %v");
        made.set_level(spdlog::level::warn);
        return made;
    }();
    return instance;
}

}  // namespace

bool set_level(const std::string &level) {
    const spdlog::level::level_enum value = level == "warn" ? spdlog::level::warn : spdlog::level::from_str(level);
    if (value == spdlog::level::off && level != "off") return false;
    logger().set_level(value);
    return true;
}

// Texts hold names from other programs: never a format.
void debug(const std::string &text) { logger().debug("{}", text); }
void info(const std::string &text) { logger().info("{}", text); }
void warn(const std::string &text) { logger().warn("{}", text); }
void error(const std::string &text) { logger().error("{}", text); }

}  // namespace hakmem::log
