#include "text/text.h"

#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace hakmem::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";
constexpr std::uint64_t kNsPerSecond = 1'000'000'000;

// Length of the well-formed UTF-8 sequence at the start of `s`, 0 if there is none. Surrogates and overlong forms are
// not well-formed.
std::size_t utf8_sequence(std::string_view s) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(s[i]); };
    const unsigned char lead = byte(0);
    if (lead < 0x80) return 1;
    std::size_t length = 0;
    std::uint32_t code = 0, smallest = 0;
    if ((lead & 0xE0) == 0xC0)
        length = 2, code = lead & 0x1F, smallest = 0x80;
    else if ((lead & 0xF0) == 0xE0)
        length = 3, code = lead & 0x0F, smallest = 0x800;
    else if ((lead & 0xF8) == 0xF0)
        length = 4, code = lead & 0x07, smallest = 0x10000;
    else
        return 0;
    if (s.size() < length) return 0;
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0) != 0x80) return 0;
        code = code << 6 | (byte(i) & 0x3F);
    }
    if (code < smallest || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
    return length;
}

bool is_control(std::string_view sequence) {
    const auto first = static_cast<unsigned char>(sequence[0]);
    if (sequence.size() == 1) return first < 0x20 || first == 0x7F;
    const auto second = static_cast<unsigned char>(sequence[1]);
    if (first == 0xC2 && second < 0xA0) return true;  // C1 controls
    // Line and paragraph separators, and the marks that reorder text (U+2028..202E, U+2066..2069).
    if (first == 0xE2 && second == 0x80) {
        const auto third = static_cast<unsigned char>(sequence[2]);
        return third >= 0xA8 && third <= 0xAE;
    }
    if (first == 0xE2 && second == 0x81) {
        const auto third = static_cast<unsigned char>(sequence[2]);
        return third >= 0xA6 && third <= 0xA9;
    }
    return false;
}

constexpr char kHexDigits[] = "0123456789abcdef";

int digit_value(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

}  // namespace

std::string clean(std::string_view raw) {
    std::string out;
    out.reserve(raw.size());
    while (!raw.empty()) {
        const std::size_t length = utf8_sequence(raw);
        if (length == 0 || is_control(raw.substr(0, length)))
            out += kReplacement;
        else
            out += raw.substr(0, length);
        raw.remove_prefix(length == 0 ? 1 : length);
    }
    return out;
}

std::string hex(std::uint64_t value) {
    char buffer[19];
    std::snprintf(buffer, sizeof buffer, "0x%llx", static_cast<unsigned long long>(value));
    return buffer;
}

std::string hex_byte(std::uint8_t value) { return {'0', 'x', kHexDigits[value >> 4], kHexDigits[value & 15]}; }

std::string hex_bytes(std::string_view bytes) {
    std::string out;
    out.reserve(2 * bytes.size());
    for (const char c : bytes) {
        out += kHexDigits[static_cast<unsigned char>(c) >> 4];
        out += kHexDigits[static_cast<unsigned char>(c) & 15];
    }
    return out;
}

std::string unhex_bytes(std::string_view digits) {
    std::string out;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        const int high = digit_value(digits[i]), low = digit_value(digits[i + 1]);
        if (high < 0 || low < 0) break;
        out += static_cast<char>(high << 4 | low);
    }
    return out;
}

std::string rfc3339(std::uint64_t ns) {
    const auto seconds = static_cast<std::time_t>(ns / kNsPerSecond);
    std::tm parts{};
    if (::gmtime_r(&seconds, &parts) == nullptr) return "1970-01-01T00:00:00.000000Z";
    std::array<char, 64> day{};
    std::strftime(day.data(), day.size(), "%Y-%m-%dT%H:%M:%S", &parts);
    std::array<char, 96> all{};
    std::snprintf(all.data(), all.size(), "%s.%06uZ", day.data(), static_cast<unsigned>(ns % kNsPerSecond / 1000));
    return all.data();
}

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return value;
}

std::uint64_t unix_ms() {
    using namespace std::chrono;
    return static_cast<std::uint64_t>(duration_cast<milliseconds>(system_clock::now().time_since_epoch()).count());
}

std::optional<std::uint64_t> parse_time(std::string_view text) {
    constexpr std::uint64_t kMaxSeconds = UINT64_MAX / kNsPerSecond;
    if (const auto seconds = parse_unsigned(text))
        return *seconds < kMaxSeconds ? std::optional(*seconds * kNsPerSecond) : std::nullopt;
    const std::string copy(text);
    std::tm parts{};
    const char *rest = ::strptime(copy.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
    if (rest == nullptr) return std::nullopt;
    std::uint64_t fraction = 0;
    if (*rest == '.') {
        std::uint64_t unit = kNsPerSecond;
        const char *digits = ++rest;
        for (; *rest >= '0' && *rest <= '9'; ++rest)
            if (unit > 1) fraction += static_cast<unsigned>(*rest - '0') * (unit /= 10);
        if (rest == digits) return std::nullopt;
    }
    std::int64_t zone = 0;
    if (*rest == 'Z' || *rest == 'z') {
        ++rest;
    } else if (*rest == '+' || *rest == '-' || *rest == ' ') {  // a '+' that was not escaped in a query reads as ' '
        unsigned hours = 0, minutes = 0;
        int used = 0;
        if (std::sscanf(rest + 1, "%2u:%2u%n", &hours, &minutes, &used) != 2 || used != 5 || hours > 23 || minutes > 59)
            return std::nullopt;
        zone = static_cast<std::int64_t>(hours * 3600 + minutes * 60) * (*rest == '-' ? -1 : 1);
        rest += 1 + used;
    } else {
        return std::nullopt;
    }
    if (rest != copy.c_str() + copy.size()) return std::nullopt;  // a NUL inside is no end
    const std::int64_t seconds = static_cast<std::int64_t>(::timegm(&parts)) - zone;
    if (seconds < 0 || static_cast<std::uint64_t>(seconds) >= kMaxSeconds) return std::nullopt;
    return static_cast<std::uint64_t>(seconds) * kNsPerSecond + fraction;
}

std::string base_name(std::string_view path) {
    const auto slash = path.rfind('/');
    return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

std::string human_bytes(std::uint64_t bytes) {
    static constexpr const char *kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = static_cast<double>(bytes);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(kUnits)) value /= 1024, ++unit;
    char buffer[32];
    std::snprintf(buffer, sizeof buffer, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
    return buffer;
}

std::vector<std::string> lines(std::string_view text) {
    std::vector<std::string> all;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        all.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return all;
}

}  // namespace hakmem::text
