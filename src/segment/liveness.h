// Whether the process behind a segment still runs, also where it lives in another PID namespace (a container) and its
// number means another process here, or none.
#pragma once

#include <cstdint>

#include "segment/layout.h"

namespace hakmem::segment {

// The PID namespace that we are in, as segments name it; 0 without /proc.
std::uint64_t own_pid_namespace();

// Whether the process that wrote the header of that open file runs. From the machine's own namespace every process is
// seen. From another one, the lock tells: it goes with the mapping, however the process ends. Where there is none, a
// process that is not seen counts as running until it has said its end: better a file too many than one that is deleted
// below its process.
bool runs(const Header &header, int fd);

}  // namespace hakmem::segment
