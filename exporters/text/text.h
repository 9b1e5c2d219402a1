// Text for people and for formats: numbers, times, and strings that come from watched programs and must not be able to
// break a terminal or a format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hakmem::text {

// Valid UTF-8 without control characters: what is neither becomes U+FFFD. For labels, JSON and terminals alike.
std::string clean(std::string_view raw);

std::string hex(std::uint64_t value);              // 0x1f
std::string hex_byte(std::uint8_t value);          // 0x0f
std::string hex_bytes(std::string_view bytes);     // 00ff12
std::string unhex_bytes(std::string_view digits);  // stops at what is no digit pair

std::uint64_t unix_ms();                // now
std::string rfc3339(std::uint64_t ns);  // UTC, microseconds
// An RFC 3339 time or Unix seconds, as nanoseconds.
std::optional<std::uint64_t> parse_time(std::string_view text);

std::optional<std::uint64_t> parse_unsigned(std::string_view text);

std::string base_name(std::string_view path);

std::string human_bytes(std::uint64_t bytes);  // 12.3 MiB

// The lines of a text, without their ends.
std::vector<std::string> lines(std::string_view text);

}  // namespace hakmem::text
