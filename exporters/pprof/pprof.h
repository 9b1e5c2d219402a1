// The heap profile of a process as pprof reads it.
#pragma once

#include <string>
#include <vector>

#include "heap/profile.h"
#include "segment/reader.h"

namespace hakmem {

// An uncompressed profile with the sample types inuse_objects, inuse_space, alloc_objects and alloc_space, symbolized,
// with mappings and build-ids. `time_ns` since the epoch.
std::string to_pprof(const segment::Snapshot &snapshot, const std::vector<HeapSite> &sites, std::uint64_t time_ns);

}  // namespace hakmem
