// HAKMEM_OPTIONS: the table of keys, and the parser from text to a plain struct. The table is the only list of options:
// the parser, its warnings, help=1 and `hakmem options` all read it. Allocates nothing and uses nothing else of diag,
// as the command is built with it too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "segment/layout.h"

namespace hakmem {

inline constexpr std::size_t kMaxPath = 512;

struct Options {
    segment::Level level = segment::Level::count;
    segment::OnError on_error = segment::OnError::keep_going;
    segment::Hunt hunt = segment::Hunt::off;
    bool report_stderr = false;
    bool help = false;
    std::uint32_t stack_depth = 32;
    std::uint32_t audit_interval_s = 0;
    std::uint32_t guard_sample = 5000;
    std::uint32_t dump_bytes = 32;
    std::uint64_t sample_bytes = 524288;
    std::uint64_t quarantine_bytes = 16777216;
    char runtime_dir[kMaxPath] = {};  // empty: not given

    // All zero bytes: whatever holds it costs no memory before it is touched.
    static constexpr Options unset() {
        return {.level = {},
                .on_error = {},
                .hunt = {},
                .stack_depth = 0,
                .guard_sample = 0,
                .dump_bytes = 0,
                .sample_bytes = 0,
                .quarantine_bytes = 0};
    }
};

// One key. Its values are either names (`choices`), stored as their index, or numbers from `min` to `max`, or a path.
struct Option {
    const char *key;
    const char *default_text;
    const char *meaning;
    std::span<const char *const> choices;
    std::uint64_t min;
    std::uint64_t max;
    void (*store)(Options &, std::uint64_t);  // null: a path, stored in Options::runtime_dir
};

std::span<const Option> option_table();

// Takes a complete line without its newline.
using LineSink = void (*)(void *context, const char *line);

// Reads `key=value:key=value` into `options`, which keeps what the text doesn't name. What can't be used is told to
// `warn`, one line each, and the rest still counts.
void parse_options(const char *text, Options &options, LineSink warn, void *context);

// One key alone, as the command line has it. False (and a line to `warn`) where key or value is unusable.
bool parse_option(const char *key, const char *value, Options &options, LineSink warn, void *context);

// The table in words, a line at a time.
void describe_options(LineSink print, void *context);

// The values that a key takes, in words, such as "1 to 64".
void describe_values(const Option &option, LineSink print, void *context);

}  // namespace hakmem
