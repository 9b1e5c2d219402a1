// The lines of a source file around one that a stack names, for whoever looks at an incident.
//
// The path comes from the debug information of a watched program, which may be hostile, and this process may have more
// rights than whoever looks at the page. So only regular files whose real name, behind all links, is that of a source
// file are shown, and never more than a few lines of one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hakmem {

struct SourceLines {
    std::string error;  // why there are no lines, for people
    unsigned first_line = 0;
    std::vector<std::string> lines;  // clean text, long ones cut
    std::uint64_t modified_ns = 0;   // of the file
};

inline constexpr unsigned kMaxSourceContext = 20;

// `context` lines before and behind `line`.
SourceLines read_source(const std::string &path, unsigned line, unsigned context);

// When a regular file was changed last; nothing if there is none of that path.
std::optional<std::uint64_t> modified_ns(const std::string &path);

}  // namespace hakmem
