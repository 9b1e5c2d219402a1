#include "commands/preloadable.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "text/text.h"

namespace hakmem {
namespace {

constexpr int kMostInterpreters = 5;         // the kernel follows that many
constexpr std::size_t kMostHeaders = 1'024;  // program headers looked at
constexpr std::string_view kBlanks = " \t";

struct Fd {
    explicit Fd(const std::string &path) : number(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) {}
    ~Fd() {
        if (number >= 0) ::close(number);
    }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    const int number;
};

// The file that execvp would start; empty if there is none.
std::string look_up(const std::string &command) {
    if (command.find('/') != std::string::npos) return command;
    const char *path = std::getenv("PATH");
    std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
    for (bool more = true; more;) {
        const std::size_t colon = rest.find(':');
        const std::string folder(rest.substr(0, colon));
        const std::string file = (folder.empty() ? "." : folder) + "/" + command;
        struct stat info {};
        if (::stat(file.c_str(), &info) == 0 && S_ISREG(info.st_mode) && ::access(file.c_str(), X_OK) == 0) return file;
        more = colon != std::string_view::npos;
        if (more) rest.remove_prefix(colon + 1);
    }
    return {};
}

// The program that a script names in its first line; `env` stands for what it starts.
std::string interpreter(std::string_view line) {
    line = line.substr(0, line.find('\n'));
    std::string first;
    for (int word = 0; word < 2; ++word) {
        line.remove_prefix(std::min(line.find_first_not_of(kBlanks), line.size()));
        const std::string text(line.substr(0, line.find_first_of(kBlanks)));
        if (word == 0) first = text;
        const bool is_name = !text.empty() && text[0] != '-' && text.find('=') == std::string::npos;
        if (word == 1) return is_name ? look_up(text) : first;
        if (text::base_name(text) != "env") return first;
        line.remove_prefix(text.size());
    }
    return first;
}

// Started by us, the program gains rights: its loader then ignores what the environment says.
bool gains_rights(int fd, const struct stat &info) {
    struct statvfs mount {};
    if (::fstatvfs(fd, &mount) == 0 && (mount.f_flag & ST_NOSUID) != 0) return false;
    if (::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1) return false;
    if ((info.st_mode & S_ISUID) != 0 && info.st_uid != ::getuid()) return true;
    if ((info.st_mode & S_ISGID) != 0 && (info.st_mode & S_IXGRP) != 0 && info.st_gid != ::getgid()) return true;
    return ::getuid() != 0 && ::fgetxattr(fd, "security.capability", nullptr, 0) > 0;
}

bool has_loader(int fd, const Elf64_Ehdr &header) {
    for (std::size_t i = 0; i < std::min<std::size_t>(header.e_phnum, kMostHeaders); ++i) {
        Elf64_Phdr part;
        const std::uint64_t at = header.e_phoff + i * header.e_phentsize;
        if (header.e_phentsize < sizeof part || ::pread(fd, &part, sizeof part, static_cast<off_t>(at)) != sizeof part)
            return true;  // not for us to judge
        if (part.p_type == PT_INTERP) return true;
    }
    return false;
}

// As in `ld.so PROGRAM`: it has no loader, but is one.
bool is_loader(const std::string &file) {
    const std::string name = text::base_name(file);
    return name == "ld.so" || name.starts_with("ld-linux");
}

std::string why_not(const std::string &file, int fd, const Elf64_Ehdr &header) {
    struct stat info {};
    if (::fstat(fd, &info) == 0 && gains_rights(fd, info))
        return "gains rights by being started (set-user-id, set-group-id or capabilities)";
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_machine != EM_X86_64)
        return "is for another architecture than x86-64";
    if (!has_loader(fd, header) && !is_loader(file)) return "is statically linked";
    return {};
}

}  // namespace

std::string why_not_preloaded(const std::string &command) {
    std::string file = look_up(command);
    for (int depth = 0; depth < kMostInterpreters && !file.empty(); ++depth) {
        const Fd fd(file);
        std::array<char, 256> start{};
        static_assert(sizeof(Elf64_Ehdr) <= sizeof start);
        if (fd.number < 0 || ::pread(fd.number, start.data(), start.size() - 1, 0) <= 0) return {};
        const std::string_view text(start.data());
        if (text.starts_with("#!")) {
            file = interpreter(text.substr(2));
            continue;
        }
        if (!text.starts_with(ELFMAG)) return {};
        Elf64_Ehdr header;
        std::memcpy(&header, start.data(), sizeof header);
        const std::string reason = why_not(file, fd.number, header);
        return reason.empty() ? reason : text::clean(file) + " " + reason;
    }
    return {};
}

}  // namespace hakmem
