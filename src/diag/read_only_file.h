// A file that is open for reading for as long as this is there: what the kernel tells of the process, mostly.
#pragma once

#include <fcntl.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

namespace hakmem {

class ReadOnlyFile {
  public:
    explicit ReadOnlyFile(const char *path) : file_(open(path, O_RDONLY | O_CLOEXEC)) {}
    ~ReadOnlyFile() {
        if (file_ >= 0) close(file_);
    }
    ReadOnlyFile(const ReadOnlyFile &) = delete;
    ReadOnlyFile &operator=(const ReadOnlyFile &) = delete;

    // Bytes read; 0 at the end, -1 where the file could not be opened or read.
    ssize_t read(void *to, std::size_t bytes) const { return ::read(file_, to, bytes); }
    ssize_t read_at(void *to, std::size_t bytes, off_t offset) const { return pread(file_, to, bytes, offset); }

  private:
    int file_;
};

}  // namespace hakmem
