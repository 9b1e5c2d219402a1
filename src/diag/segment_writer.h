// Makes this process's segment (segment/layout.h): a file in the runtime directory, mapped shared, or, where none can
// be made, private memory of the same layout that nobody sees. Keeps no file descriptor: programs close what they
// don't know.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>

#include "segment/layout.h"

namespace hakmem {

inline constexpr std::uint32_t kShards = 4096;
inline constexpr std::uint32_t kShardBytes = sizeof(segment::CounterShard);
inline constexpr std::uint32_t kIncidents = 256;
inline constexpr std::uint32_t kIncidentBytes = 4096;
inline constexpr std::uint32_t kModules = 512;
inline constexpr std::uint32_t kModuleBytes = sizeof(segment::ModuleRecord);
inline constexpr std::uint32_t kStacks = 32768;
inline constexpr std::uint32_t kStackRecordBytes = sizeof(segment::StackRecord);

inline constexpr std::uint64_t kHeaderBytes = 4096;
inline constexpr std::uint64_t kShardsAt = kHeaderBytes;
inline constexpr std::uint64_t kIncidentsAt = kShardsAt + std::uint64_t{kShards} * kShardBytes;
inline constexpr std::uint64_t kModulesAt = kIncidentsAt + std::uint64_t{kIncidents} * kIncidentBytes;
inline constexpr std::uint64_t kStacksAt = kModulesAt + std::uint64_t{kModules} * kModuleBytes;
// Most of it is a hole of the file until somebody needs it.
inline constexpr std::uint64_t kSegmentBytes = kStacksAt + std::uint64_t{kStacks} * kStackRecordBytes;

// The segment as its writer sees it.
struct Segment {
    unsigned char *base = nullptr;
    bool shared = false;  // a file that others can read

    explicit operator bool() const { return base != nullptr; }
    segment::Header &header() const { return *reinterpret_cast<segment::Header *>(base); }
    segment::CounterShard *shards() const { return reinterpret_cast<segment::CounterShard *>(base + kShardsAt); }
    segment::ModuleRecord *modules() const { return reinterpret_cast<segment::ModuleRecord *>(base + kModulesAt); }
    segment::StackRecord *stacks() const { return reinterpret_cast<segment::StackRecord *>(base + kStacksAt); }
    segment::IncidentRecord &incident(std::uint32_t index) const {
        return *reinterpret_cast<segment::IncidentRecord *>(base + kIncidentsAt +
                                                            std::uint64_t{index} * kIncidentBytes);
    }
};

// What a segment file is called: PID-STARTTICKS.hakmem.
struct SegmentName {
    pid_t pid;
    std::uint64_t start_ticks;
};

// What went wrong, in words, for one line to the user; null: nothing did.
struct SegmentError {
    const char *what = nullptr;
    int error_number = 0;
};

// Makes the file in the open directory `directory` and maps it, at `where` (over what is there) unless that is null.
// A file of this name was left by the program that this process ran before exec: it is marked ended and moved aside
// to PID-STARTTICKS.execN.hakmem. The segment's sections are described and everything else is zero; it is not valid
// to readers until `publish_segment`.
Segment create_shared_segment(int directory, SegmentName name, unsigned char *where, SegmentError &error);

// The same in memory. Without a base if there is none.
Segment create_private_segment(unsigned char *where);

// Lets readers at it.
void publish_segment(const Segment &segment);

// Makes sure that a part of a segment that nobody uses yet can be written, and changes nothing in it: false where a
// page of it can't be had, as the disk is full.
bool prepare_memory(void *memory, std::size_t bytes);

}  // namespace hakmem
