// Against prometheus-cpp's own serializer, whose place it takes: same lines, but for the digits of numbers.
#include "prometheus/text_format.h"

#include <gtest/gtest.h>
#include <prometheus/text_serializer.h>

#include <cmath>
#include <limits>
#include <sstream>

namespace hakmem {
namespace {

prometheus::MetricFamily family(prometheus::MetricType type, std::vector<double> values) {
    prometheus::MetricFamily family;
    family.name = "hakmem_test_total";
    family.help = "A \"help\" line.";  // prometheus-cpp escapes none
    family.type = type;
    for (const double value : values) {
        prometheus::ClientMetric &metric = family.metric.emplace_back();
        metric.label = {{"process", "a\"b\\c\nd{}=,\u4e16"}, {"kind", ""}};
        metric.counter.value = metric.gauge.value = value;
    }
    return family;
}

TEST(TextFormat, IsThatOfPrometheusCpp) {
    const double infinity = std::numeric_limits<double>::infinity();
    std::vector<prometheus::MetricFamily> families{
        family(prometheus::MetricType::Counter, {0, 1, 906228, 9007199254740992}),
        family(prometheus::MetricType::Gauge, {infinity, -infinity, 0.25, -3}),
        family(prometheus::MetricType::Gauge, {})};
    families.back().metric.emplace_back().gauge.value = 7;  // without labels
    std::ostringstream expected;
    prometheus::TextSerializer().Serialize(expected, families);
    EXPECT_EQ(text_format(families), expected.str());
}

TEST(TextFormat, NumbersReadBackAsTheyWere) {
    const std::vector<double> values{0.1, 1e-9, 1'700'000'000.123456, 1e22, 1.8446744073709552e19, 9007199254740993.0,
                                     -0.5};
    std::istringstream lines(text_format({family(prometheus::MetricType::Gauge, values)}));
    std::string line;
    std::size_t at = 0;
    while (std::getline(lines, line))
        if (!line.starts_with('#')) {
            EXPECT_EQ(std::stod(line.substr(line.rfind(' '))), values[at++]) << line;
        }
    EXPECT_EQ(at, values.size());
    EXPECT_TRUE(text_format({family(prometheus::MetricType::Gauge, {std::nan("")})}).ends_with(" NaN\n"));
}

}  // namespace
}  // namespace hakmem
