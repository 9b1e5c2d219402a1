#include "segment/liveness.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <charconv>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>

#include "segment/reader.h"

namespace hakmem::segment {
namespace {

constexpr std::uint64_t kMachineNamespace = 0xEFFFFFFC;  // PROC_PID_INIT_INO of the kernel's interface
constexpr std::size_t kMaxRemembered = 1 << 16;

std::uint64_t number(std::string_view text) {
    std::uint64_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

// What the process is called in the innermost namespace that it is in: the last number of NSpid. 0 if that is ours.
std::uint64_t inner_pid(std::uint64_t pid) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (!line.starts_with("NSpid:")) continue;
        const auto last = line.find_last_of("\t ");
        return line.find_first_of("\t ") == last ? 0 : number(std::string_view(line).substr(last + 1));
    }
    return 0;
}

// Our number for a process of a namespace below ours; 0 if there is none. Two processes of the same number that started
// in the same hundredth of a second in two containers are one to us.
std::uint64_t find_below(std::uint64_t pid, std::uint64_t start_ticks) {
    struct Close {
        void operator()(DIR *dir) const { ::closedir(dir); }
    };
    const std::unique_ptr<DIR, Close> proc(::opendir("/proc"));
    if (!proc) return 0;
    while (const dirent *entry = ::readdir(proc.get())) {
        const std::uint64_t outer = number(entry->d_name);
        if (outer != 0 && process_start_ticks(outer) == start_ticks && inner_pid(outer) == pid) return outer;
    }
    return 0;
}

// Whether anybody has a write lock on the file; asking changes nothing. Not where it cannot be told.
bool is_locked(int fd) {
    struct flock lock {};
    lock.l_type = F_RDLCK;
    lock.l_whence = SEEK_SET;
    return ::fcntl(fd, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace

std::uint64_t own_pid_namespace() {
    static const std::uint64_t own = [] {
        struct stat info {};
        return ::stat("/proc/self/ns/pid", &info) == 0 ? static_cast<std::uint64_t>(info.st_ino) : 0;
    }();
    return own;
}

bool runs(const Header &header, int fd) {
    if (header.pid_namespace == 0 || header.pid_namespace == own_pid_namespace())
        return process_alive(header.pid, header.start_ticks);
    if (header.locked != 0 && own_pid_namespace() != kMachineNamespace) return header.ended_ns == 0 && is_locked(fd);
    // Looked for once: who is not there then has ended, and who is keeps its number.
    static std::mutex mutex;
    static std::map<std::tuple<std::uint64_t, std::uint64_t, std::uint64_t>, std::uint64_t> known;
    const std::lock_guard lock(mutex);
    if (known.size() >= kMaxRemembered) known.clear();
    const auto [found, is_new] = known.try_emplace({header.pid_namespace, header.pid, header.start_ticks});
    if (is_new) found->second = find_below(header.pid, header.start_ticks);
    if (found->second != 0) return process_alive(found->second, header.start_ticks);
    return own_pid_namespace() != kMachineNamespace && header.ended_ns == 0;
}

}  // namespace hakmem::segment
