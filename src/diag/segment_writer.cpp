#include "diag/segment_writer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>

#include "base/text.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace hakmem {
namespace {

constexpr std::size_t kPage = 4096;
static_assert(kShardsAt % kPage == 0 && kIncidentsAt % kPage == 0 && kModulesAt % kPage == 0 && kStacksAt % kPage == 0);
static_assert(kSegmentBytes % kPage == 0);
static_assert(sizeof(segment::IncidentRecord) <= kIncidentBytes);

// The header and the records of the first threads: what every process touches.
constexpr std::size_t kFirstBytes = kHeaderBytes + 2 * kPage;

constexpr unsigned kMostExecs = 100000;

using Name = TextBuffer<96>;

void put_name(Name &out, SegmentName name) {
    out.decimal(static_cast<std::uint64_t>(name.pid)).put('-').decimal(name.start_ticks);
}

void mark_ended(int directory, const char *name) {
    const int fd = openat(directory, name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return;
    struct stat status {};
    timespec now{};
    clock_gettime(CLOCK_REALTIME, &now);
    const std::uint64_t ended_ns =
        static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= static_cast<off_t>(kHeaderBytes)) {
        // If it can't be marked, its name still tells.
        [[maybe_unused]] const ssize_t written =
            pwrite(fd, &ended_ns, sizeof ended_ns, offsetof(segment::Header, ended_ns));
    }
    close(fd);
}

bool move_aside(int directory, SegmentName name, const char *current) {
    mark_ended(directory, current);
    for (unsigned n = 1; n <= kMostExecs; ++n) {
        Name moved;
        put_name(moved, name);
        moved.put(".exec").decimal(n).put(".hakmem");
        if (renameat2(directory, current, directory, moved.c_str(), RENAME_NOREPLACE) == 0) return true;
        if (errno != EEXIST) return false;
    }
    return false;
}

int create_file(int directory, SegmentName name, const char *file_name) {
    constexpr int kFlags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(directory, file_name, kFlags, 0600);
    if (fd < 0 && errno == EEXIST && move_aside(directory, name, file_name)) {
        fd = openat(directory, file_name, kFlags, 0600);
    }
    return fd;
}

// False where the disk is full. Not every file system can promise space: then writing tells.
bool has_space(int fd) { return fallocate(fd, 0, 0, kFirstBytes) == 0 || errno != ENOSPC; }

void describe(segment::Header &header) {
    header.version = segment::kVersion;
    header.header_bytes = sizeof(segment::Header);
    header.file_bytes = kSegmentBytes;
    header.shards = {kShardsAt, kShardBytes, kShards};
    header.incidents = {kIncidentsAt, kIncidentBytes, kIncidents};
    header.modules = {kModulesAt, kModuleBytes, kModules};
    header.stacks = {kStacksAt, kStackRecordBytes, kStacks};
}

// Writing past RLIMIT_FSIZE would be answered by SIGXFSZ, which ends the program.
bool file_size_allowed() {
    rlimit limit{};
    return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= kSegmentBytes;
}

// A lock of the open file, not of the process: the mapping keeps it, whoever closes the descriptor, and it goes with
// the mapping, at exec, at a kill, in a fork's child that maps its own file over it. So a reader that cannot see the
// process knows that it lives.
bool lock_file(int fd) {
    struct flock lock {};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

Segment map_file(int fd, unsigned char *where, SegmentError &error) {
    if (ftruncate(fd, kSegmentBytes) != 0 || fchmod(fd, 0600) != 0 || !has_space(fd)) {
        error = {"can't size the file", errno};
        return {};
    }
    void *memory =
        mmap(where, kSegmentBytes, PROT_READ | PROT_WRITE, MAP_SHARED | (where != nullptr ? MAP_FIXED : 0), fd, 0);
    if (memory == MAP_FAILED) {
        error = {"can't map the file", errno};
        return {};
    }
    // A fault in a hole of a file reads ahead, on some disks megabytes of zeros: a millisecond.
    madvise(memory, kSegmentBytes, MADV_RANDOM);
    if (!prepare_memory(memory, kFirstBytes)) {
        error = {"no space for the file", 0};
        // Nobody may touch what can't be written.
        if (where != nullptr) {
            create_private_segment(where);
        } else {
            munmap(memory, kSegmentBytes);
        }
        return {};
    }
    const Segment segment{static_cast<unsigned char *>(memory), true};
    describe(segment.header());
    segment.header().locked = lock_file(fd) ? 1 : 0;  // not every file system has such locks
    return segment;
}

}  // namespace

Segment create_shared_segment(int directory, SegmentName name, unsigned char *where, SegmentError &error) {
    if (!file_size_allowed()) {
        error = {"the limit on file sizes is too low", 0};
        return {};
    }
    Name file_name;
    put_name(file_name, name);
    file_name.put(".hakmem");
    const int fd = create_file(directory, name, file_name.c_str());
    if (fd < 0) {
        error = {"can't make a file", errno};
        return {};
    }
    Segment segment = map_file(fd, where, error);
    if (!segment) unlinkat(directory, file_name.c_str(), 0);
    close(fd);
    return segment;
}

Segment create_private_segment(unsigned char *where) {
    void *memory = mmap(where, kSegmentBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (where != nullptr ? MAP_FIXED : 0), -1, 0);
    if (memory == MAP_FAILED) return {};
    Segment segment{static_cast<unsigned char *>(memory), false};
    describe(segment.header());
    return segment;
}

void publish_segment(const Segment &segment) {
    std::atomic_ref<std::uint64_t>(segment.header().magic).store(segment::kMagic, std::memory_order_release);
}

bool prepare_memory(void *memory, std::size_t bytes) {
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t begin = address & ~(kPage - 1);
    const std::uintptr_t end = (address + bytes + kPage - 1) & ~(kPage - 1);
    const int saved_errno = errno;
    bool ready = madvise(reinterpret_cast<void *>(begin), end - begin, MADV_POPULATE_WRITE) == 0;
    if (!ready && errno == EINVAL) {
        // Linux before 5.14: let the kernel write, as it answers EFAULT where our own store would raise SIGBUS. Only
        // to the caller's bytes: others on the same pages may be in use.
        ready = true;
        for (std::uintptr_t page = begin; ready && page < end; page += kPage) {
            iovec same{reinterpret_cast<void *>(page < address ? address : page), 1};
            ready = process_vm_writev(getpid(), &same, 1, &same, 1, 0) == 1;
        }
    }
    errno = saved_errno;
    return ready;
}

}  // namespace hakmem
