#include "diag/options.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace hakmem {
namespace {

using Lines = std::vector<std::string>;

void keep(void *lines, const char *line) { static_cast<Lines *>(lines)->push_back(line); }

struct Parsed {
    Options options;
    Lines warnings;
};

Parsed parse(const char *text) {
    Parsed parsed;
    parse_options(text, parsed.options, keep, &parsed.warnings);
    return parsed;
}

TEST(Options, EmptyTextKeepsTheDefaults) {
    for (const char *text : {"", ":", ":::"}) {
        const Parsed parsed = parse(text);
        EXPECT_TRUE(parsed.warnings.empty()) << text;
        EXPECT_EQ(parsed.options.level, segment::Level::count);
        EXPECT_EQ(parsed.options.stack_depth, 32u);
    }
}

TEST(Options, UnsetAreAllZeroBytes) {
    static constinit const Options unset = Options::unset();
    for (std::byte byte : std::as_bytes(std::span(&unset, 1))) ASSERT_EQ(byte, std::byte{0});
}

TEST(Options, TheDefaultsInTheTableAreThoseOfTheStruct) {
    Options from_table;
    Lines warnings;
    for (const Option &option : option_table()) {
        if (*option.default_text == '\0') continue;
        // From a value that is not the default, so that the table has to set it.
        EXPECT_TRUE(parse_option(option.key, option.default_text, from_table, keep, &warnings)) << option.key;
    }
    const Options defaults;
    EXPECT_TRUE(warnings.empty());
    EXPECT_EQ(from_table.level, defaults.level);
    EXPECT_EQ(from_table.on_error, defaults.on_error);
    EXPECT_EQ(from_table.sample_bytes, defaults.sample_bytes);
    EXPECT_EQ(from_table.stack_depth, defaults.stack_depth);
    EXPECT_EQ(from_table.audit_interval_s, defaults.audit_interval_s);
    EXPECT_EQ(from_table.quarantine_bytes, defaults.quarantine_bytes);
    EXPECT_EQ(from_table.guard_sample, defaults.guard_sample);
    EXPECT_EQ(from_table.dump_bytes, defaults.dump_bytes);
    EXPECT_EQ(from_table.hunt, defaults.hunt);
    EXPECT_EQ(from_table.report_stderr, defaults.report_stderr);
}

TEST(Options, ReadsEveryKey) {
    const Parsed parsed = parse(
        "level=guard:on_error=abort:sample_bytes=1:stack_depth=64:audit_interval=7:quarantine_bytes=0:guard_sample=1:"
        "dump_bytes=128:hunt=auto:report=stderr:runtime_dir=/a/b:help=1");
    EXPECT_TRUE(parsed.warnings.empty());
    EXPECT_EQ(parsed.options.level, segment::Level::guard);
    EXPECT_EQ(parsed.options.on_error, segment::OnError::abort);
    EXPECT_EQ(parsed.options.sample_bytes, 1u);
    EXPECT_EQ(parsed.options.stack_depth, 64u);
    EXPECT_EQ(parsed.options.audit_interval_s, 7u);
    EXPECT_EQ(parsed.options.quarantine_bytes, 0u);
    EXPECT_EQ(parsed.options.guard_sample, 1u);
    EXPECT_EQ(parsed.options.dump_bytes, 128u);
    EXPECT_EQ(parsed.options.hunt, segment::Hunt::automatic);
    EXPECT_TRUE(parsed.options.report_stderr);
    EXPECT_STREQ(parsed.options.runtime_dir, "/a/b");
    EXPECT_TRUE(parsed.options.help);
}

TEST(Options, AnUnknownKeyIsNamedWithAllValidOnesAndTheRestCounts) {
    const Parsed parsed = parse("levl=verify:stack_depth=5");
    ASSERT_EQ(parsed.warnings.size(), 1u);
    EXPECT_NE(parsed.warnings[0].find("'levl'"), std::string::npos);
    for (const Option &option : option_table()) {
        EXPECT_NE(parsed.warnings[0].find(option.key), std::string::npos) << option.key;
    }
    EXPECT_EQ(parsed.options.stack_depth, 5u);
    EXPECT_EQ(parsed.options.level, segment::Level::count);
}

TEST(Options, ABadValueIsNamedWithTheValidOnesAndTheDefaultStays) {
    const Parsed parsed = parse("level=high:stack_depth=65:report=stderr");
    ASSERT_EQ(parsed.warnings.size(), 2u);
    EXPECT_EQ(parsed.warnings[0], "bad value 'high' for option level; valid: count, verify, trace, guard");
    EXPECT_EQ(parsed.warnings[1], "bad value '65' for option stack_depth; valid: 1 to 64");
    EXPECT_EQ(parsed.options.stack_depth, 32u);
    EXPECT_TRUE(parsed.options.report_stderr);
}

TEST(Options, NumbersAreDigitsInTheRange) {
    for (const char *bad : {"stack_depth=", "stack_depth", "stack_depth=0", "stack_depth=-1", "stack_depth= 3",
                            "stack_depth=3x", "stack_depth=99999999999999999999999", "stack_depth=0x10",
                            "sample_bytes=0", "dump_bytes=129", "guard_sample=4294967296"}) {
        EXPECT_EQ(parse(bad).warnings.size(), 1u) << bad;
    }
}

TEST(Options, AValueMayHoldAnEqualsSign) { EXPECT_STREQ(parse("runtime_dir=/a=b").options.runtime_dir, "/a=b"); }

TEST(Options, ATooLongPathIsRefused) {
    const std::string path(kMaxPath, 'x');
    const Parsed parsed = parse(("runtime_dir=" + path).c_str());
    EXPECT_EQ(parsed.warnings.size(), 1u);
    EXPECT_STREQ(parsed.options.runtime_dir, "");
    EXPECT_STREQ(parse(("runtime_dir=" + path.substr(1)).c_str()).options.runtime_dir, path.substr(1).c_str());
}

TEST(Options, WarningsAreOneLineWithoutControlCharacters) {
    const Parsed parsed = parse("a\nb\033[31m=1");
    ASSERT_EQ(parsed.warnings.size(), 1u);
    EXPECT_NE(parsed.warnings[0].find("'a?b?[31m'"), std::string::npos) << parsed.warnings[0];
}

TEST(Options, TheDescriptionHasALineForEachOption) {
    Lines lines;
    describe_options(keep, &lines);
    ASSERT_EQ(lines.size(), option_table().size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
        EXPECT_EQ(lines[i].rfind(option_table()[i].key, 0), 0u) << lines[i];
        EXPECT_NE(lines[i].find(option_table()[i].meaning), std::string::npos) << lines[i];
    }
}

}  // namespace
}  // namespace hakmem
