// Reads memory that may not be there: the kernel copies it and answers EFAULT where a load of ours would fault.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem {

// A window of memory: `size` bytes of `bytes` came from `address` on.
struct MemoryDump {
    static constexpr std::size_t kMost = 128;

    std::uintptr_t address = 0;
    std::size_t size = 0;
    std::uint8_t bytes[kMost];
};

// The readable part of the `size` bytes (at most kMost) around `center`; no bytes where there is nothing to read.
MemoryDump dump_around(std::uintptr_t center, std::size_t size);

}  // namespace hakmem
