// One incident as it is shown: the segment's raw record with its frames symbolized and its identity worked out. The
// store keeps it, the web and the terminal report present it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "segment/layout.h"
#include "segment/reader.h"

namespace hakmem {

struct Frame {
    std::uint64_t pc = 0;
    std::string module;        // path, empty if the address lies in none
    std::string build_id;      // hex
    std::uint64_t offset = 0;  // the file's own virtual address of pc, what addr2line takes
    std::string function;      // demangled, empty if unknown
    std::string file;
    unsigned line = 0;
    bool inlined = false;    // function was inlined into that of the next frame
    std::string note;        // why there are no symbols, if that is worth saying
    std::string debug_file;  // the file whose lack leaves function or line unknown
};
using Stack = std::vector<Frame>;

struct Incident {
    std::string id;       // names this record of this process, for ever
    std::string segment;  // Snapshot::identity
    std::uint32_t record = 0;
    std::string fingerprint;
    segment::Kind kind = segment::Kind::double_free;
    segment::AddressRegion region = segment::AddressRegion::none;
    std::string process;
    std::string exe;
    std::uint64_t pid = 0;
    std::uint32_t tid = 0;
    std::string thread;
    std::uint64_t address = 0;
    std::uint64_t block = 0;
    std::int64_t offset = 0;
    std::uint64_t slot_bytes = 0;
    bool large = false;  // slot_bytes is no small size class
    std::uint64_t asked_bytes = 0;
    bool header_known = false;
    std::uint8_t header_found = 0;
    std::uint8_t header_expected = 0;
    std::uint64_t dump_address = 0;
    std::string dump;
    std::string reading;  // of the bytes that overwrote something, in plain words; empty if the kind is another
    Stack free, alloc, previous_free, suspect_alloc, writer;
    std::optional<segment::Suspect> suspect;
    bool suspect_large = false;
    std::uint64_t count = 1;
    std::uint64_t first_ns = 0;
    std::uint64_t last_ns = 0;
    std::optional<segment::HeaderInvalid> outcome;
    segment::Level level = segment::Level::count;
};

// The stacks of an incident by the names that the JSON form has for them.
struct StackName {
    const char *name;
    Stack Incident::*stack;
};
inline constexpr StackName kStacks[] = {{"free", &Incident::free},
                                        {"alloc", &Incident::alloc},
                                        {"previous_free", &Incident::previous_free},
                                        {"suspect_alloc", &Incident::suspect_alloc},
                                        {"writer", &Incident::writer}};

}  // namespace hakmem
