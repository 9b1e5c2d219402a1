#include "source/source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <string_view>

#include "process/privilege.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::size_t kMaxFileBytes = 4 << 20;
constexpr std::size_t kMaxLineBytes = 400;
constexpr std::string_view kSuffixes[] = {
    "c",   "cc",  "cpp", "cxx", "c++", "C",  "h",  "hh",  "hpp", "hxx", "h++", "H",   "inc", "inl",
    "ipp", "tcc", "tpp", "txx", "rs",  "go", "d",  "zig", "m",   "mm",  "cu",  "cuh", "s",   "S",
    "asm", "f",   "f90", "f95", "F90", "y",  "yy", "l",   "ll",  "def", "pas", "ada", "adb", "ads",
};

class File {
  public:
    explicit File(const std::string &path) : fd_(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) {}
    ~File() {
        if (fd_ >= 0) ::close(fd_);
    }
    File(const File &) = delete;
    File &operator=(const File &) = delete;
    int fd() const { return fd_; }

  private:
    const int fd_;
};

std::uint64_t modified(const struct stat &info) {
    return static_cast<std::uint64_t>(std::max<std::time_t>(info.st_mtim.tv_sec, 0)) * 1'000'000'000 +
           static_cast<std::uint64_t>(info.st_mtim.tv_nsec);
}

// The path that was really opened; empty if that cannot be told.
std::string real_path(int fd) {
    char buffer[4096];
    const ssize_t bytes = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), buffer, sizeof buffer);
    if (bytes <= 0 || static_cast<std::size_t>(bytes) == sizeof buffer) return {};
    return {buffer, static_cast<std::size_t>(bytes)};
}

bool is_source_name(const std::string &path) {
    const std::string name = text::base_name(path);
    const auto dot = name.rfind('.');
    // The standard headers of C++ have no suffix.
    if (dot == std::string::npos) return path.starts_with("/usr/include/c++/");
    return dot != 0 &&
           std::find(std::begin(kSuffixes), std::end(kSuffixes), name.substr(dot + 1)) != std::end(kSuffixes);
}

std::string read_all(int fd, std::size_t bytes) {
    std::string content(bytes, '\0');
    std::size_t at = 0;
    while (at < bytes) {
        const ssize_t got = ::pread(fd, content.data() + at, bytes - at, static_cast<off_t>(at));
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;  // shorter by now
        at += static_cast<std::size_t>(got);
    }
    content.resize(at);
    return content;
}

// A tab is a control character to text::clean, but belongs into source.
std::string clean_line(std::string_view raw) {
    if (raw.ends_with('\r')) raw.remove_suffix(1);
    std::string out;
    for (std::size_t at = 0; at <= raw.size();) {
        const std::size_t tab = std::min(raw.find('\t', at), raw.size());
        out += text::clean(raw.substr(at, tab - at));
        if (tab < raw.size()) out += '\t';
        at = tab + 1;
    }
    return out;
}

void take_lines(std::string_view content, unsigned line, unsigned context, SourceLines &out) {
    out.first_line = line > context ? line - context : 1;
    unsigned number = 1;
    while (!content.empty() && number <= line + context) {
        const std::size_t end = std::min(content.find('\n'), content.size());
        if (number >= out.first_line) {
            const bool cut = end > kMaxLineBytes;
            out.lines.push_back(clean_line(content.substr(0, cut ? kMaxLineBytes : end)) + (cut ? "…" : ""));
        }
        content.remove_prefix(std::min(end + 1, content.size()));
        ++number;
    }
    if (number <= line) {
        out.lines.clear();
        out.error = "the source file has no line " + std::to_string(line) + ": it was changed since";
    }
}

}  // namespace

SourceLines read_source(const std::string &path, unsigned line, unsigned context) {
    SourceLines out;
    const auto refuse = [&](const std::string &why) {
        out.error = why;
        return out;
    };
    if (line == 0) return refuse("the debug information names no line");
    if (path.empty() || path[0] != '/' || path.find('\0') != std::string::npos)
        return refuse("the debug information names no absolute path");
    const UserRightsOnly rights;
    const File file(path);
    if (file.fd() < 0) return refuse(std::string("the source file cannot be read: ") + std::strerror(errno));
    struct stat info {};
    if (::fstat(file.fd(), &info) != 0 || !S_ISREG(info.st_mode) || !is_source_name(real_path(file.fd())))
        return refuse("what the debug information names is not a source file");
    if (static_cast<std::uint64_t>(info.st_size) > kMaxFileBytes) return refuse("the source file is too large");
    out.modified_ns = modified(info);
    take_lines(read_all(file.fd(), static_cast<std::size_t>(info.st_size)), line, std::min(context, kMaxSourceContext),
               out);
    return out;
}

std::optional<std::uint64_t> modified_ns(const std::string &path) {
    struct stat info {};
    if (path.empty() || path[0] != '/' || ::stat(path.c_str(), &info) != 0 || !S_ISREG(info.st_mode))
        return std::nullopt;
    return modified(info);
}

}  // namespace hakmem
