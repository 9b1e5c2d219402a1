#include "diag/safe_read.h"

#include "os/readable.h"

namespace hakmem {
namespace {

constexpr std::uintptr_t kPage = 4096;

// All or nothing.
bool copy(std::uintptr_t from, std::size_t size, std::uint8_t *to) { return os::safe_read(from, to, size); }

}  // namespace

MemoryDump dump_around(std::uintptr_t center, std::size_t size) {
    MemoryDump dump;
    if (size > MemoryDump::kMost) size = MemoryDump::kMost;
    if (size == 0 || center < size || center + size < center) return dump;
    const std::uintptr_t begin = center - size / 2;
    const std::uintptr_t end = begin + size;
    // At most one page boundary lies inside: either side may be missing.
    static_assert(MemoryDump::kMost < kPage);
    const std::uintptr_t boundary = (begin & ~(kPage - 1)) + kPage;
    const std::uintptr_t split = boundary < end ? boundary : end;
    if (copy(begin, end - begin, dump.bytes)) {
        dump.address = begin;
        dump.size = end - begin;
    } else if (copy(begin, split - begin, dump.bytes)) {
        dump.address = begin;
        dump.size = split - begin;
    } else if (split < end && copy(split, end - split, dump.bytes)) {
        dump.address = split;
        dump.size = end - split;
    }
    return dump;
}

}  // namespace hakmem
