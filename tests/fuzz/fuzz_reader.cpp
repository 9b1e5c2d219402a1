// libFuzzer: the segment reader. An input is a file's bytes as they are, or, where it begins with an M, changes to a
// right file: three bytes of place and one of value each. Whatever it is, reading ends, and what is read holds
// together.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "../unit/segment_builder.h"

namespace {

using namespace hakmem;

std::string right_file() {
    test::SegmentBuilder builder;
    for (unsigned kind = 0; kind < segment::kKinds; ++kind) {
        segment::IncidentRecord &record = builder.add_incident(static_cast<segment::Kind>(kind));
        record.free.frames = 5;
        record.dump_bytes = 16;
    }
    builder.add_module("/usr/bin/tester", 0x1000, 0x2000, 0, "abcdefgh");
    return builder.bytes();
}

void check(bool right) {
    if (!right) std::abort();
}

void check(const segment::Frames &stack, const segment::Snapshot &snapshot) {
    for (const segment::Frame &frame : stack)
        check(frame.module == segment::kNoModule || frame.module < snapshot.modules.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static const std::string base = right_file();
    // Under $TMPDIR; libFuzzer ends without destructors.
    static const test::TemporaryDir folder;
    static const std::string path = folder.file(test::SegmentBuilder().name());
    static const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0);
    std::string bytes(reinterpret_cast<const char *>(data), size);
    if (size > 0 && data[0] == 'M') {
        bytes = base;
        for (std::size_t i = 1; i + 3 < size; i += 4) {
            const std::size_t place = data[i] | data[i + 1] << 8 | data[i + 2] << 16;
            bytes[place % bytes.size()] = static_cast<char>(data[i + 3]);
        }
    }
    check(ftruncate(file, 0) == 0 && pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    for (const segment::Parts parts : {segment::Parts::counters, segment::Parts::all, segment::Parts::heap}) {
        const segment::ReadResult result = segment::read_file(path, parts);
        check(result.snapshot || !result.error.empty() || result.unfinished || result.gone);
        check(result.snapshot || bytes != base);  // else nothing here would be tested
        if (!result.snapshot) continue;
        for (const segment::Incident &incident : result.snapshot->incidents) {
            check(static_cast<unsigned>(incident.kind) < segment::kKinds);
            for (const auto *stack :
                 {&incident.free, &incident.alloc, &incident.previous_free, &incident.suspect_alloc, &incident.writer})
                check(*stack, *result.snapshot);
        }
        for (const segment::HeapSite &site : result.snapshot->heap) check(site.stack, *result.snapshot);
    }
    return 0;
}
