// Makes segment files for tests by the structs of segment/layout.h, so that readers are tested without a watched
// program: right ones, and whatever a test does to the bytes before they are written.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "segment/layout.h"
#include "segment/reader.h"

namespace hakmem::test {

// A folder that is removed at the end.
class TemporaryDir {
  public:
    TemporaryDir() {
        std::string pattern = std::filesystem::temp_directory_path() / "hakmem-test-XXXXXX";
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp");
        path_ = pattern;
    }
    ~TemporaryDir() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDir(const TemporaryDir &) = delete;
    TemporaryDir &operator=(const TemporaryDir &) = delete;
    const std::string &path() const { return path_; }
    std::string file(const std::string &name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

inline void write_bytes(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

template <std::size_t N>
void set_text(char (&field)[N], const std::string &text) {
    std::memset(field, 0, N);
    std::memcpy(field, text.data(), std::min(text.size(), N - 1));
}

// A process id that no process has.
inline constexpr std::uint64_t kNobody = 4'194'304 + 17;  // above the kernel's largest pid_max

class SegmentBuilder {
  public:
    explicit SegmentBuilder(std::uint64_t pid = kNobody, std::uint64_t start_ticks = 1000) {
        header.magic = segment::kMagic;
        header.version = segment::kVersion;
        header.header_bytes = sizeof header;
        header.pid = pid;
        header.start_ticks = start_ticks;
        header.start_time_ns = 1'700'000'000'000'000'000 + pid;
        for (unsigned i = 0; i < segment::kSizeClasses; ++i) header.slot_bytes[i] = 16 * (i + 1);
        set_text(header.version_text, "0.1.0");
        set_text(header.process, "tester");
        set_text(header.exe, "/usr/bin/tester");
        shards.resize(4);
    }

    segment::IncidentRecord &add_incident(segment::Kind kind) {
        segment::IncidentRecord record{};
        record.sequence = 2;
        record.kind = static_cast<std::uint32_t>(kind);
        record.key = 0x1234 + incidents.size();
        record.count = 1;
        record.first_ns = record.last_ns = 1'700'000'001'000'000'000 + incidents.size() * 1000;
        record.address = 0x7f0000001000;
        record.block = 0x7f0000001000;
        record.slot_bytes = 48;
        record.outcome = static_cast<std::uint32_t>(segment::HeaderInvalid::rejected);
        record.tid = 77;
        set_text(record.thread, "worker");
        incidents.push_back(record);
        return incidents.back();
    }

    void add_module(const std::string &path, std::uint64_t begin, std::uint64_t end, std::uint64_t bias,
                    const std::string &build_id) {
        segment::ModuleRecord record{};
        record.begin = begin;
        record.end = end;
        record.bias = bias;
        record.build_id_bytes = static_cast<std::uint32_t>(std::min(build_id.size(), sizeof record.build_id));
        std::memcpy(record.build_id, build_id.data(), record.build_id_bytes);
        set_text(record.path, path);
        modules.push_back(record);
    }

    // Lays the sections out and completes the header.
    std::string bytes() {
        const auto align = [](std::uint64_t at) { return (at + 4095) / 4096 * 4096; };
        const auto section = [&](std::uint64_t &at, std::size_t stride, std::size_t count) {
            const segment::Section made{at, static_cast<std::uint32_t>(stride), static_cast<std::uint32_t>(count)};
            at = align(at + stride * count);
            return made;
        };
        std::uint64_t at = align(sizeof header);
        header.shards = section(at, sizeof(segment::CounterShard), shards.size());
        header.incidents = section(at, sizeof(segment::IncidentRecord), incidents.size() + 2);
        header.modules = section(at, sizeof(segment::ModuleRecord), modules.size() + 2);
        header.shards_used = static_cast<std::uint32_t>(shards.size());
        header.incidents_used = static_cast<std::uint32_t>(incidents.size());
        header.modules_used = static_cast<std::uint32_t>(modules.size());
        header.file_bytes = at;
        std::string out(at, '\0');
        put(out, 0, &header, sizeof header);
        put(out, header.shards.offset, shards.data(), shards.size() * sizeof shards[0]);
        put(out, header.incidents.offset, incidents.data(), incidents.size() * sizeof incidents[0]);
        put(out, header.modules.offset, modules.data(), modules.size() * sizeof modules[0]);
        return out;
    }

    std::string name() const {
        return std::to_string(header.pid) + "-" + std::to_string(header.start_ticks) + ".hakmem";
    }

    // Returns the file's path.
    std::string write(const TemporaryDir &dir) { return write(dir.file(name())); }
    std::string write(const std::string &path) {
        write_bytes(path, bytes());
        return path;
    }

    segment::Header header{};
    std::vector<segment::CounterShard> shards;
    std::vector<segment::IncidentRecord> incidents;
    std::vector<segment::ModuleRecord> modules;

  private:
    static void put(std::string &out, std::uint64_t at, const void *from, std::size_t bytes) {
        if (bytes > 0) std::memcpy(out.data() + at, from, bytes);
    }
};

}  // namespace hakmem::test
