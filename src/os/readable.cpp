#include "os/readable.h"

#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "base/bits.h"
#include "os/pages.h"

namespace hakmem::os {

segment::MincoreResult page_mapped(std::uintptr_t address) {
    const int saved_errno = errno;
    const std::size_t page = system_page_bytes();
    unsigned char resident;
    segment::MincoreResult result = segment::MincoreResult::mapped;
    if (mincore(pointer_to(address & ~(page - 1)), page, &resident) != 0)
        result = errno == ENOMEM ? segment::MincoreResult::unmapped : segment::MincoreResult::error;
    errno = saved_errno;
    return result;
}

namespace {

bool copy_by_kernel(decltype(process_vm_readv) *copy, std::uintptr_t address, void *own, std::size_t bytes) {
    const int saved_errno = errno;
    iovec local{own, bytes};
    iovec remote{pointer_to(address), bytes};
    const bool whole = copy(getpid(), &local, 1, &remote, 1, 0) == static_cast<ssize_t>(bytes);
    errno = saved_errno;
    return whole;
}

}  // namespace

bool safe_read(std::uintptr_t address, void *to, std::size_t bytes) {
    return copy_by_kernel(process_vm_readv, address, to, bytes);
}

bool safe_write(std::uintptr_t address, const void *from, std::size_t bytes) {
    return copy_by_kernel(process_vm_writev, address, const_cast<void *>(from), bytes);
}

}  // namespace hakmem::os
