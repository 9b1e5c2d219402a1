#include "diag/options.h"

#include <cstring>

#include "base/text.h"

namespace hakmem {
namespace {

using segment::Hunt;
using segment::Level;
using segment::OnError;

constexpr std::uint64_t kNoLimit = std::uint64_t{1} << 47;  // more than an address space of user memory holds
constexpr const char *kReportNames[] = {"none", "stderr"};
constexpr const char *kNoYes[] = {"0", "1"};

constexpr Option kTable[] = {
    {"level", "count", "what is checked and recorded, each level with all before it", segment::kLevelNames, 0, 0,
     [](Options &o, std::uint64_t v) { o.level = static_cast<Level>(v); }},
    {"on_error", "continue", "continue: record and go on; abort: record, report, SIGABRT; stop: record, SIGSTOP",
     segment::kOnErrorNames, 0, 0, [](Options &o, std::uint64_t v) { o.on_error = static_cast<OnError>(v); }},
    {"sample_bytes",
     "524288",
     "mean bytes between sampled allocation backtraces (trace); 1: every allocation",
     {},
     1,
     kNoLimit,
     [](Options &o, std::uint64_t v) { o.sample_bytes = v; }},
    {"stack_depth",
     "32",
     "frames kept of a backtrace",
     {},
     1,
     segment::kMaxFrames,
     [](Options &o, std::uint64_t v) { o.stack_depth = static_cast<std::uint32_t>(v); }},
    {"audit_interval",
     "0",
     "seconds between audits of all headers; 0: on request only",
     {},
     0,
     31536000,
     [](Options &o, std::uint64_t v) { o.audit_interval_s = static_cast<std::uint32_t>(v); }},
    {"quarantine_bytes",
     "16777216",
     "freed bytes held back from reuse (guard)",
     {},
     0,
     kNoLimit,
     [](Options &o, std::uint64_t v) { o.quarantine_bytes = v; }},
    {"guard_sample",
     "5000",
     "one allocation in N gets guard pages, besides the first blocks of each allocation site (guard); 0: none",
     {},
     0,
     0xFFFFFFFF,
     [](Options &o, std::uint64_t v) { o.guard_sample = static_cast<std::uint32_t>(v); }},
    {"dump_bytes",
     "32",
     "bytes of memory around a bad header put into an incident; 0: none",
     {},
     0,
     segment::kMaxDump,
     [](Options &o, std::uint64_t v) { o.dump_bytes = static_cast<std::uint32_t>(v); }},
    {"hunt", "off",
     "auto: after an overwritten header, catch the writer by watchpoints behind blocks of the suspect's allocation "
     "site",
     segment::kHuntNames, 0, 0, [](Options &o, std::uint64_t v) { o.hunt = static_cast<Hunt>(v); }},
    {"report", "none", "stderr: print each incident, unsymbolized, when it happens", kReportNames, 0, 0,
     [](Options &o, std::uint64_t v) { o.report_stderr = v != 0; }},
    {"runtime_dir",
     "",
     "where the segment file is made; else HAKMEM_RUNTIME_DIR, /run/hakmem, "
     "$XDG_RUNTIME_DIR/hakmem, /tmp/hakmem-UID",
     {},
     0,
     0,
     nullptr},
    {"help", "0", "1: print this list to stderr at start", kNoYes, 0, 0,
     [](Options &o, std::uint64_t v) { o.help = v != 0; }},
};

constexpr bool every_option_has_values() {
    for (const Option &option : kTable) {
        const bool path = option.store == nullptr;
        if (!path && option.choices.empty() && option.min >= option.max) return false;
    }
    return true;
}
static_assert(every_option_has_values());

// A piece of the caller's text.
struct Piece {
    const char *text;
    std::size_t length;

    bool equals(const char *other) const {
        return std::strlen(other) == length && std::memcmp(text, other, length) == 0;
    }
};

using Line = TextBuffer<1024>;

void put_values(Text &line, const Option &option) {
    if (option.store == nullptr) {
        line.put("a path of 1 to ").decimal(kMaxPath - 1).put(" bytes");
    } else if (option.choices.empty()) {
        line.decimal(option.min).put(" to ").decimal(option.max);
    } else {
        const char *separator = "";
        for (const char *choice : option.choices) {
            line.put(separator).put(choice);
            separator = ", ";
        }
    }
}

void warn_unknown_key(Piece key, LineSink warn, void *context) {
    Line line;
    line.put("unknown option '").put_untrusted(key.text, key.length).put("'; valid: ");
    const char *separator = "";
    for (const Option &option : kTable) {
        line.put(separator).put(option.key);
        separator = ", ";
    }
    warn(context, line.c_str());
}

void warn_bad_value(const Option &option, Piece value, LineSink warn, void *context) {
    Line line;
    line.put("bad value '").put_untrusted(value.text, value.length).put("' for option ").put(option.key);
    line.put("; valid: ");
    put_values(line, option);
    warn(context, line.c_str());
}

bool parse_number(Piece text, std::uint64_t &out) {
    if (text.length == 0 || text.length > 19) return false;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < text.length; ++i) {
        const char c = text.text[i];
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    out = value;
    return true;
}

bool store_value(const Option &option, Piece value, Options &options) {
    if (option.store == nullptr) {
        if (value.length == 0 || value.length >= kMaxPath) return false;
        std::memcpy(options.runtime_dir, value.text, value.length);
        options.runtime_dir[value.length] = '\0';
        return true;
    }
    if (option.choices.empty()) {
        std::uint64_t number = 0;
        if (!parse_number(value, number) || number < option.min || number > option.max) return false;
        option.store(options, number);
        return true;
    }
    for (std::size_t i = 0; i < option.choices.size(); ++i) {
        if (value.equals(option.choices[i])) {
            option.store(options, i);
            return true;
        }
    }
    return false;
}

bool parse_pair(Piece key, Piece value, Options &options, LineSink warn, void *context) {
    for (const Option &option : kTable) {
        if (!key.equals(option.key)) continue;
        if (store_value(option, value, options)) return true;
        warn_bad_value(option, value, warn, context);
        return false;
    }
    warn_unknown_key(key, warn, context);
    return false;
}

}  // namespace

std::span<const Option> option_table() { return kTable; }

void parse_options(const char *text, Options &options, LineSink warn, void *context) {
    while (*text != '\0') {
        const std::size_t length = std::strcspn(text, ":");
        if (length != 0) {
            const auto *equals = static_cast<const char *>(std::memchr(text, '=', length));
            const std::size_t key_length = equals != nullptr ? static_cast<std::size_t>(equals - text) : length;
            const std::size_t value_start = equals != nullptr ? key_length + 1 : length;
            parse_pair({text, key_length}, {text + value_start, length - value_start}, options, warn, context);
        }
        text += length;
        if (*text == ':') ++text;
    }
}

bool parse_option(const char *key, const char *value, Options &options, LineSink warn, void *context) {
    return parse_pair({key, std::strlen(key)}, {value, std::strlen(value)}, options, warn, context);
}

void describe_options(LineSink print, void *context) {
    for (const Option &option : kTable) {
        Line line;
        line.put(option.key).put('=').put(*option.default_text != '\0' ? option.default_text : "(none)");
        line.put("  [");
        put_values(line, option);
        line.put("]  ").put(option.meaning);
        print(context, line.c_str());
    }
}

void describe_values(const Option &option, LineSink print, void *context) {
    Line line;
    put_values(line, option);
    print(context, line.c_str());
}

}  // namespace hakmem
