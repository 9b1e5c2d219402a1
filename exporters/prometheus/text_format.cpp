#include "prometheus/text_format.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace hakmem {
namespace {

constexpr std::size_t kBytesOfSeries = 80;          // about; room is made for that many before
constexpr double kLargestExact = 9007199254740992;  // 2^53: up to here a double's integers are all of them

void append_escaped(std::string &out, std::string_view text, bool quotes) {
    for (const char c : text) {
        if (c == '\\')
            out += "\\\\";
        else if (c == '\n')
            out += "\\n";
        else if (c == '"' && quotes)
            out += "\\\"";
        else
            out += c;
    }
}

void append_number(std::string &out, double value) {
    if (std::isnan(value) || std::isinf(value)) {
        out += std::isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf";
        return;
    }
    char digits[32];
    const bool whole = value >= 0 && value <= kLargestExact && value == std::floor(value);
    const auto end = whole ? std::to_chars(digits, digits + sizeof digits, static_cast<std::uint64_t>(value))
                           : std::to_chars(digits, digits + sizeof digits, value);
    out.append(digits, end.ptr);
}

void append_series(std::string &out, const std::string &name, const prometheus::ClientMetric &series, double value) {
    out += name;
    char separator = '{';
    for (const prometheus::ClientMetric::Label &label : series.label) {
        out += separator;
        separator = ',';
        out += label.name;
        out += "=\"";
        append_escaped(out, label.value, true);
        out += '"';
    }
    if (separator == ',') out += '}';
    out += ' ';
    append_number(out, value);
    out += '\n';
}

}  // namespace

std::string text_format(const std::vector<prometheus::MetricFamily> &families) {
    std::size_t series = 0;
    for (const prometheus::MetricFamily &family : families) series += family.metric.size() + 2;
    std::string out;
    out.reserve(series * kBytesOfSeries);
    for (const prometheus::MetricFamily &family : families) {
        const bool counter = family.type == prometheus::MetricType::Counter;
        out += "# HELP " + family.name + " ";
        append_escaped(out, family.help, false);
        out += "\n# TYPE " + family.name + (counter ? " counter\n" : " gauge\n");
        for (const prometheus::ClientMetric &metric : family.metric)
            append_series(out, family.name, metric, counter ? metric.counter.value : metric.gauge.value);
    }
    return out;
}

}  // namespace hakmem
