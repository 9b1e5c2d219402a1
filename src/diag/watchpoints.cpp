#include "diag/watchpoints.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace hakmem {
namespace {

// Where a watchpoint that is off would look: nobody writes here.
constinit unsigned char nowhere = 0;

// Whether writes by the kernel may be seen as well.
constinit bool kernel_too = false;

perf_event_attr attributes(std::uintptr_t address, bool inherited) {
    perf_event_attr attributes;
    std::memset(&attributes, 0, sizeof attributes);
    attributes.type = PERF_TYPE_BREAKPOINT;
    attributes.size = sizeof attributes;
    attributes.bp_type = HW_BREAKPOINT_W;
    attributes.bp_addr = address != 0 ? address : reinterpret_cast<std::uintptr_t>(&nowhere);
    attributes.bp_len = HW_BREAKPOINT_LEN_1;
    attributes.sample_period = 1;
    attributes.disabled = address == 0 ? 1 : 0;
    attributes.exclude_kernel = kernel_too ? 0 : 1;
    attributes.exclude_hv = 1;
    attributes.sigtrap = 1;
    attributes.remove_on_exec = 1;
    // Never by a forked child: it has no use for the signal.
    attributes.inherit = inherited ? 1 : 0;
    attributes.inherit_thread = inherited ? 1 : 0;
    attributes.sig_data = Watchpoint::kMark;
    return attributes;
}

int open_event(std::int32_t tid, bool inherited) {
    perf_event_attr wanted = attributes(0, inherited);
    return static_cast<int>(syscall(SYS_perf_event_open, &wanted, tid, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

// Programs expect to get the lowest descriptors, and some use select, which knows but 1024.
int move_up(int fd) {
    constexpr int kBelow = 1024, kRoom = 300;
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return fd;
    const int end = limit.rlim_cur < kBelow ? static_cast<int>(limit.rlim_cur) : kBelow;
    if (end <= 2 * kRoom) return fd;
    const int moved = fcntl(fd, F_DUPFD_CLOEXEC, end - kRoom);
    if (moved < 0) return fd;
    ::close(fd);
    return moved;
}

}  // namespace

// A child that shares our memory tries it first: one that ends without a signal, and that only we can wait for.
bool Watchpoint::may_be_tried() {
    constexpr int kFiltered = 2;
    if (prctl(PR_GET_SECCOMP) != kFiltered) return true;
    alignas(16) char stack[8 << 10];
    const auto attempt = [](void *) -> int { return open_event(0, false) >= 0 ? 0 : 1; };
    const pid_t child = clone(attempt, stack + sizeof stack, CLONE_VM | CLONE_VFORK, nullptr);
    int status = 0;
    return child > 0 && waitpid(child, &status, __WCLONE) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool Watchpoint::available() {
    if (!may_be_tried()) return false;
    for (const bool attempt : {true, false}) {
        kernel_too = attempt;
        const int fd = open_event(0, true);
        if (fd < 0) continue;
        ::close(fd);
        return true;
    }
    return false;
}

bool Watchpoint::open(std::int32_t tid, Heirs heirs) {
    const int fd = open_event(tid, heirs == Heirs::threads);
    if (fd < 0) return false;
    heirs_ = heirs;
    fd_ = move_up(fd);
    if (ioctl(fd_, PERF_EVENT_IOC_ID, &id_) == 0) return true;
    ::close(fd_);
    id_ = 0;
    return false;
}

void Watchpoint::close() {
    // What the program has closed may be somebody else's by now.
    std::uint64_t id = 0;
    if (id_ != 0 && ioctl(fd_, PERF_EVENT_IOC_ID, &id) == 0 && id == id_) ::close(fd_);
    id_ = 0;
}

bool Watchpoint::move(std::uintptr_t address) {
    if (id_ == 0) return false;
    perf_event_attr wanted = attributes(address, heirs_ == Heirs::threads);
    // A thread that has ended is no failure.
    return ioctl(fd_, PERF_EVENT_IOC_MODIFY_ATTRIBUTES, &wanted) == 0 || (errno != EBADF && errno != ENOTTY);
}

bool SharedWatchpoints::watches(std::int32_t tid) const {
    for (unsigned i = 0; i < threads_; ++i)
        if (watches_[i].tid == tid) return true;
    return false;
}

bool SharedWatchpoints::add_thread(std::int32_t tid) {
    Watch &watch = watches_[threads_];
    watch.tid = tid;
    unsigned opened = 0;
    while (opened < kPlaces && watch.points[opened].open(tid, Watchpoint::Heirs::threads)) ++opened;
    if (opened == kPlaces) {
        ++threads_;
        return true;
    }
    while (opened > 0) watch.points[--opened].close();
    return false;
}

// True if there were any.
bool SharedWatchpoints::add_new_threads() {
    // Of the kernel's linux_dirent64: glibc's readdir allocates.
    constexpr std::size_t kLengthAt = 16, kNameAt = 19;
    const int folder = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return false;
    bool any = false;
    char buffer[2048];
    for (long got; (got = syscall(SYS_getdents64, folder, buffer, sizeof buffer)) > 0;) {
        for (long at = 0; at < got;) {
            const char *name = buffer + at + kNameAt;
            std::uint16_t length = 0;
            std::memcpy(&length, buffer + at + kLengthAt, sizeof length);
            at += length;
            std::int32_t tid = 0;
            for (; *name >= '0' && *name <= '9'; ++name) tid = tid * 10 + *name - '0';
            if (tid == 0 || threads_ == kMostThreads || watches(tid)) continue;
            any |= add_thread(tid);
        }
    }
    ::close(folder);
    return any;
}

bool SharedWatchpoints::open() {
    close();
    if (!add_thread(static_cast<std::int32_t>(syscall(SYS_gettid)))) return false;
    // A thread that was created meanwhile by one that we had not seen yet watches nothing: look again.
    constexpr int kRounds = 3;
    for (int round = 0; round < kRounds && add_new_threads(); ++round) {
    }
    return true;
}

void SharedWatchpoints::close() {
    for (; threads_ > 0; --threads_)
        for (Watchpoint &point : watches_[threads_ - 1].points) point.close();
}

bool SharedWatchpoints::move(unsigned place, std::uintptr_t address) {
    for (unsigned i = 0; i < threads_; ++i)
        if (!watches_[i].points[place].move(address)) return false;
    return true;
}

}  // namespace hakmem
