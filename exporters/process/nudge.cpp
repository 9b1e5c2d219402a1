#include "process/nudge.h"

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <string>

namespace hakmem {
namespace {

// True if the process has a handler for the signal. Not its own in place of the library's, one hopes: SIGURG is rare.
bool catches(std::uint64_t pid, unsigned signal_number) {
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);) {
        if (!line.starts_with("SigCgt:")) continue;
        const unsigned long long caught = std::strtoull(line.c_str() + 7, nullptr, 16);
        return (caught >> (signal_number - 1) & 1) != 0;
    }
    return false;
}

}  // namespace

bool nudge(const segment::Snapshot &snapshot) {
    // A segment may say anything: no other signal is sent.
    if (snapshot.nudge_signal != SIGURG) return false;
    const auto process = static_cast<int>(::syscall(SYS_pidfd_open, static_cast<long>(snapshot.pid), 0L));
    if (process < 0) return false;
    // The descriptor holds on to whoever has the pid now: check that it is the one that made the segment.
    const bool sent =
        segment::process_alive(snapshot.pid, snapshot.start_ticks) && catches(snapshot.pid, SIGURG) &&
        ::syscall(SYS_pidfd_send_signal, static_cast<long>(process), static_cast<long>(SIGURG), nullptr, 0L) == 0;
    ::close(process);
    return sent;
}

}  // namespace hakmem
