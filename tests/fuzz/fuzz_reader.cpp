// libFuzzer: the segment reader. An input is a file's bytes as they are, or, where it begins with an M, changes to a
// right file: three bytes of place and one of value each; where with an R, to the file of a real program that
// HAKMEM_FUZZ_SEGMENT names, at places near something that isn't zero. Whatever it is, reading ends, and what is read
// holds together.
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <vector>

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

// Reads the file in every way. True if it was a segment each time.
bool read_all(const std::string &path) {
    bool read = true;
    for (const segment::Parts parts : {segment::Parts::counters, segment::Parts::all, segment::Parts::heap}) {
        const segment::ReadResult result = segment::read_file(path, parts);
        check(result.snapshot || !result.error.empty() || result.unfinished || result.gone);
        read = read && result.snapshot;
        if (!result.snapshot) continue;
        for (const segment::Incident &incident : result.snapshot->incidents) {
            check(static_cast<unsigned>(incident.kind) < segment::kKinds);
            for (const auto *stack :
                 {&incident.free, &incident.alloc, &incident.previous_free, &incident.suspect_alloc, &incident.writer})
                check(*stack, *result.snapshot);
        }
        for (const segment::HeapSite &site : result.snapshot->heap) check(site.stack, *result.snapshot);
    }
    return read;
}

// A segment that a program has left. Changes are undone, as the file is large.
class RealSegment {
  public:
    explicit RealSegment(const char *path) : path_(path), file_(open(path, O_RDWR | O_CLOEXEC)) {
        std::ifstream in(path, std::ios::binary);
        bytes_.assign(std::istreambuf_iterator<char>(in), {});
        check(file_ >= 0 && read_all(path_));
        constexpr std::size_t kNear = 8;
        std::size_t next = 0;
        for (std::size_t i = 0; i < bytes_.size(); ++i) {
            if (bytes_[i] == 0) continue;
            for (next = std::max(next, i - std::min(i, kNear)); next < std::min(i + kNear, bytes_.size()); ++next)
                places_.push_back(next);
        }
    }

    void read_changed(const std::uint8_t *data, std::size_t size) {
        std::vector<std::size_t> changed;
        for (std::size_t i = 1; i + 3 < size; i += 4) {
            changed.push_back(
                places_[static_cast<std::size_t>(data[i] | data[i + 1] << 8 | data[i + 2] << 16) % places_.size()]);
            check(pwrite(file_, &data[i + 3], 1, static_cast<off_t>(changed.back())) == 1);
        }
        read_all(path_);
        for (const std::size_t at : changed) check(pwrite(file_, &bytes_[at], 1, static_cast<off_t>(at)) == 1);
    }

  private:
    const std::string path_;
    const int file_;
    std::string bytes_;
    std::vector<std::size_t> places_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static const std::string base = right_file();
    // Under $TMPDIR; libFuzzer ends without destructors.
    static const test::TemporaryDir folder;
    static const std::string path = folder.file(test::SegmentBuilder().name());
    static const int file = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    check(file >= 0);
    if (const char *real_path = std::getenv("HAKMEM_FUZZ_SEGMENT");
        size > 0 && data[0] == 'R' && real_path != nullptr) {
        static RealSegment real(real_path);
        real.read_changed(data, size);
        return 0;
    }
    std::string bytes(reinterpret_cast<const char *>(data), size);
    if (size > 0 && data[0] == 'M') {
        bytes = base;
        for (std::size_t i = 1; i + 3 < size; i += 4) {
            const std::size_t place = data[i] | data[i + 1] << 8 | data[i + 2] << 16;
            bytes[place % bytes.size()] = static_cast<char>(data[i + 3]);
        }
    }
    check(ftruncate(file, 0) == 0 && pwrite(file, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
    check(read_all(path) || bytes != base);  // else nothing here would be tested
    return 0;
}
