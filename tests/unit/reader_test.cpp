#include "segment/reader.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "segment_builder.h"

namespace hakmem::segment {
namespace {

using test::kNobody;
using test::SegmentBuilder;
using test::TemporaryDir;

TEST(FileName, TakesNamesOfSegmentsOnly) {
    const auto plain = FileName::parse("12-345.hakmem");
    ASSERT_TRUE(plain);
    EXPECT_EQ(plain->pid, 12U);
    EXPECT_EQ(plain->start_ticks, 345U);
    EXPECT_EQ(plain->exec, 0U);
    const auto exec = FileName::parse("12-345.exec7.hakmem");
    ASSERT_TRUE(exec);
    EXPECT_EQ(exec->exec, 7U);
    for (const char *bad : {"", ".hakmem", "12.hakmem", "12-.hakmem", "-3.hakmem", "12-345", "12-345.hakmem~",
                            "a-b.hakmem", "12-345.exec.hakmem", "12-345.exec0.hakmem", "12-345.execx.hakmem",
                            "+1-2.hakmem", "99999999999999999999999-1.hakmem", "1-2-3.hakmem", " 1-2.hakmem"})
        EXPECT_FALSE(FileName::parse(bad)) << bad;
}

TEST(Reader, SumsShards) {
    TemporaryDir dir;
    SegmentBuilder builder;
    for (unsigned i = 0; i < 3; ++i) {
        CounterShard &shard = builder.shards[i];
        shard.allocations[0] = 10;  // 16 bytes each
        shard.allocations[2] = 5;   // 48
        shard.frees[0] = 4;
        shard.frees[kSizeClasses] = 2;  // large
        shard.allocations[kSizeClasses] = 3;
        shard.large_allocated_bytes = 30'000;
        shard.large_freed_bytes = 20'000;
        shard.free_header16 = 2;
        shard.free_slow = 1;
        shard.header_invalid[0] = 1;
        shard.incidents[static_cast<unsigned>(Kind::header_overwritten)] = 1;
        shard.last_incident_ns[static_cast<unsigned>(Kind::header_overwritten)] = 100 + i;
        shard.tid = i;  // 0: nobody counts there now, the counts stand
    }
    builder.header.gauges = {1 << 22, 1 << 20, 0, 0};
    const ReadResult result = read_file(builder.write(dir), Parts::counters);
    ASSERT_TRUE(result.snapshot) << result.error;
    const Snapshot &snapshot = *result.snapshot;
    EXPECT_EQ(snapshot.process, "tester");
    EXPECT_EQ(snapshot.exe, "/usr/bin/tester");
    EXPECT_FALSE(snapshot.alive);
    EXPECT_EQ(snapshot.threads, 2U);
    const Counters &counters = snapshot.counters;
    EXPECT_EQ(counters.allocations[0], 30U);
    EXPECT_EQ(counters.allocated_bytes, 3U * (160 + 240 + 30'000));
    EXPECT_EQ(counters.freed_bytes, 3U * (64 + 20'000));
    EXPECT_EQ(counters.live_bytes(), counters.allocated_bytes - counters.freed_bytes);
    EXPECT_EQ(snapshot.cached_bytes(), (1U << 20) - counters.live_bytes());
    EXPECT_EQ(counters.free_path, (std::array<std::uint64_t, 3>{18 - 6 - 3, 6, 3}));
    EXPECT_EQ(counters.all_incidents(), 3U);
    EXPECT_EQ(counters.last_incident_ns[static_cast<unsigned>(Kind::header_overwritten)], 102U);
}

TEST(Reader, SlowFreesThatWereRefusedAreNoFrees) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.shards[1].frees[0] = 10;
    builder.shards[1].free_slow = 4;
    builder.shards[1].header_invalid[static_cast<unsigned>(HeaderInvalid::rejected)] = 3;
    builder.shards[1].header_invalid[static_cast<unsigned>(HeaderInvalid::recovered)] = 1;
    const ReadResult result = read_file(builder.write(dir), Parts::counters);
    ASSERT_TRUE(result.snapshot) << result.error;
    EXPECT_EQ(result.snapshot->counters.free_path, (std::array<std::uint64_t, 3>{9, 0, 4}));
}

TEST(Reader, SumsSaturate) {
    TemporaryDir dir;
    SegmentBuilder builder;
    for (CounterShard &shard : builder.shards) std::memset(&shard, 0xFF, sizeof shard);
    const ReadResult result = read_file(builder.write(dir), Parts::counters);
    ASSERT_TRUE(result.snapshot) << result.error;
    EXPECT_EQ(result.snapshot->counters.allocations[0], UINT64_MAX);
    EXPECT_EQ(result.snapshot->counters.allocated_bytes, UINT64_MAX);
    EXPECT_EQ(result.snapshot->counters.live_bytes(), 0U);
    Counters twice = result.snapshot->counters;
    twice.add(result.snapshot->counters);
    EXPECT_EQ(twice.all_incidents(), UINT64_MAX);
}

TEST(Reader, FreesThatOvertakeAllocationsGiveNoNegativeLiveBytes) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.shards[1].frees[1] = 5;
    const ReadResult result = read_file(builder.write(dir), Parts::counters);
    ASSERT_TRUE(result.snapshot) << result.error;
    EXPECT_EQ(result.snapshot->counters.live_bytes(), 0U);
    EXPECT_EQ(result.snapshot->counters.live_blocks(1), 0U);
}

TEST(Reader, CopiesIncidentsAndModules) {
    TemporaryDir dir;
    SegmentBuilder builder;
    IncidentRecord &record = builder.add_incident(Kind::header_overwritten);
    record.suspect_address = 0x7f0000000fd0;
    record.suspect_state = static_cast<std::uint32_t>(SlotState::in_use);
    record.suspect_slot_bytes = 48;
    record.header_known = 1;
    record.header_found = 0;
    record.header_expected = 0xA2;
    record.dump_bytes = 4;
    std::memcpy(record.dump, "abcd", 4);
    record.free.frames = 2;
    record.free.pc[0] = 0x1001;
    record.free.pc[1] = 0x2001;
    record.free.module[1] = kNoModule;
    builder.add_module("/lib/x.so", 0x1000, 0x2000, 0x1000, "0123");
    const ReadResult result = read_file(builder.write(dir), Parts::all);
    ASSERT_TRUE(result.snapshot) << result.error;
    ASSERT_EQ(result.snapshot->incidents.size(), 1U);
    const Incident &incident = result.snapshot->incidents[0];
    EXPECT_EQ(incident.kind, Kind::header_overwritten);
    ASSERT_TRUE(incident.suspect);
    EXPECT_EQ(incident.suspect->state, SlotState::in_use);
    EXPECT_EQ(incident.dump, "abcd");
    EXPECT_EQ(incident.thread, "worker");
    ASSERT_EQ(incident.free.size(), 2U);
    EXPECT_EQ(incident.free[0].module, 0U);
    EXPECT_EQ(incident.free[1].module, kNoModule);
    ASSERT_EQ(result.snapshot->modules.size(), 1U);
    EXPECT_EQ(result.snapshot->modules[0].path, "/lib/x.so");
    EXPECT_EQ(result.snapshot->modules[0].build_id, "0123");
}

TEST(Reader, LeavesOutRecordsThatAreBeingWritten) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.add_incident(Kind::double_free);
    builder.add_incident(Kind::double_free).sequence = 3;
    builder.add_incident(Kind::double_free).sequence = 0;
    builder.add_incident(Kind::double_free).key = 0;
    const ReadResult result = read_file(builder.write(dir), Parts::all);
    ASSERT_TRUE(result.snapshot) << result.error;
    ASSERT_EQ(result.snapshot->incidents.size(), 1U);
    EXPECT_EQ(result.snapshot->incidents[0].record, 0U);
}

TEST(Reader, ClampsEveryFieldOfAHostileRecord) {
    TemporaryDir dir;
    SegmentBuilder builder;
    IncidentRecord &record = builder.add_incident(Kind::double_free);
    const std::uint32_t sequence = record.sequence;
    std::memset(&record, 0xFF, sizeof record);
    record.sequence = sequence;
    record.kind = 1;
    IncidentRecord &unknown = builder.add_incident(Kind::double_free);
    unknown.kind = kKinds;
    builder.add_module("/lib/x.so", 0, 0, 0, "");
    std::memset(builder.modules[0].path, 'x', sizeof builder.modules[0].path);
    builder.modules[0].build_id_bytes = 0xFFFFFFFF;
    std::memset(builder.header.process, 'p', sizeof builder.header.process);
    std::memset(builder.header.exe, 'e', sizeof builder.header.exe);
    builder.header.level = 99;
    const ReadResult result = read_file(builder.write(dir), Parts::all);
    ASSERT_TRUE(result.snapshot) << result.error;
    EXPECT_EQ(result.snapshot->process.size(), sizeof builder.header.process);
    EXPECT_EQ(result.snapshot->level, Level::count);
    ASSERT_EQ(result.snapshot->incidents.size(), 1U);
    const Incident &incident = result.snapshot->incidents[0];
    EXPECT_EQ(incident.free.size(), kMaxFrames);
    EXPECT_EQ(incident.free[0].module, kNoModule);
    EXPECT_EQ(incident.dump.size(), kMaxDump);
    EXPECT_EQ(incident.thread.size(), 16U);
    EXPECT_EQ(incident.region, AddressRegion::none);
    EXPECT_FALSE(incident.outcome);
    EXPECT_EQ(result.snapshot->modules[0].path.size(), sizeof builder.modules[0].path);
    EXPECT_EQ(result.snapshot->modules[0].build_id.size(), kBuildIdBytes);
}

TEST(Reader, SaysWhyAFileIsNoSegment) {
    TemporaryDir dir;
    const auto error_of = [&](auto change) {
        SegmentBuilder builder;
        builder.add_incident(Kind::double_free);
        std::string bytes = builder.bytes();
        auto *header = reinterpret_cast<Header *>(bytes.data());
        change(*header, bytes);
        const std::string path = dir.file(builder.name());
        test::write_bytes(path, bytes);
        const ReadResult result = read_file(path, Parts::all);
        EXPECT_FALSE(result.snapshot);
        return result.error;
    };
    const auto contains = [](const std::string &text, const char *part) {
        return text.find(part) != std::string::npos;
    };
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.magic = 1; }), "wrong magic");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.version = 2; }), "version 2");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.header_bytes = 8; }), "header size");
    EXPECT_PRED2(contains, error_of([](Header &, std::string &b) { b.resize(b.size() - 1); }), "truncated");
    EXPECT_PRED2(contains, error_of([](Header &, std::string &b) { b.resize(100); }), "too short");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.shards.offset = UINT64_MAX; }), "past the end");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.incidents.count = 60'000; }), "past the end");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.modules.count = UINT32_MAX; }), "too many");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.shards.stride = 8; }), "stride");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.shards.offset = 8; }), "past the end");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.slot_bytes[3] = 16; }), "size classes");
    EXPECT_PRED2(contains, error_of([](Header &h, std::string &) { h.pid = 1; }), "disagree");
}

TEST(Reader, AnUnfinishedFileIsNoError) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.header.magic = 0;
    EXPECT_TRUE(read_file(builder.write(dir), Parts::counters).unfinished);
    EXPECT_TRUE(read_file(dir.file("1-1.hakmem"), Parts::counters).gone);
}

TEST(Reader, OpensRegularFilesOnly) {
    TemporaryDir dir;
    SegmentBuilder builder;
    const std::string path = builder.write(dir);
    const std::string link = dir.file("5-5.hakmem");
    ASSERT_EQ(::symlink(path.c_str(), link.c_str()), 0);
    EXPECT_EQ(read_file(link, Parts::counters).error, "is a symbolic link");
    const std::string fifo = dir.file("6-6.hakmem");
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_EQ(read_file(fifo, Parts::counters).error, "is not a regular file");
    EXPECT_EQ(read_file(dir.path(), Parts::counters).error, "is not a regular file");
}

TEST(Reader, SurvivesEveryTruncation) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.add_incident(Kind::double_free);
    builder.add_module("/x", 0, 1, 0, "");
    const std::string bytes = builder.bytes();
    const std::string path = dir.file(builder.name());
    int errors = 0;
    const std::size_t lengths = bytes.size();
    for (std::size_t length = 0; length < lengths; length += length < 4096 ? 7 : 509) {
        test::write_bytes(path, bytes.substr(0, length));
        const ReadResult result = read_file(path, Parts::all);
        EXPECT_FALSE(result.snapshot) << length;
        if (!result.error.empty()) ++errors;
    }
    EXPECT_GT(errors, 100);
}

// Random bytes at random places: either values or an error text.
TEST(Reader, SurvivesMutations) {
    TemporaryDir dir;
    SegmentBuilder builder;
    for (unsigned i = 0; i < 3; ++i) builder.add_incident(static_cast<Kind>(i)).free.frames = 5;
    builder.add_module("/x", 0, 1, 0, "abc");
    const std::string bytes = builder.bytes();
    const std::string path = dir.file(builder.name());
    std::mt19937_64 random(20240501);
    int read = 0, refused = 0;
    for (int round = 0; round < 1000; ++round) {
        std::string mutated = bytes;
        const int changes = 1 + static_cast<int>(random() % 20);
        for (int i = 0; i < changes; ++i) {
            const std::size_t at = random() % 2 == 0 ? random() % 512 : random() % mutated.size();
            mutated[at] = static_cast<char>(random() % 3 == 0 ? 0xFF : random());
        }
        test::write_bytes(path, mutated);
        const ReadResult result = read_file(path, Parts::all);
        if (!result.snapshot) {
            ++refused;
            EXPECT_FALSE(result.error.empty());
            continue;
        }
        ++read;
        for (const Incident &incident : result.snapshot->incidents) {
            EXPECT_LT(static_cast<unsigned>(incident.kind), kKinds);
            for (const Frame &frame : incident.free)
                EXPECT_TRUE(frame.module == kNoModule || frame.module < result.snapshot->modules.size());
        }
    }
    EXPECT_GT(read, 20);
    EXPECT_GT(refused, 100);
}

TEST(Reader, SurvivesRandomFiles) {
    TemporaryDir dir;
    std::mt19937_64 random(7);
    for (int round = 0; round < 200; ++round) {
        std::string bytes(random() % 20'000, '\0');
        for (char &byte : bytes) byte = static_cast<char>(random());
        if (round % 2 == 0 && bytes.size() > 8) std::memcpy(bytes.data(), &kMagic, sizeof kMagic);
        const std::string path = dir.file("1-1.hakmem");
        test::write_bytes(path, bytes);
        EXPECT_FALSE(read_file(path, Parts::all).snapshot);
    }
}

TEST(Reader, SurvivesAFileThatShrinksWhileItIsRead) {
    TemporaryDir dir;
    SegmentBuilder builder;
    for (int i = 0; i < 20; ++i) builder.add_incident(Kind::double_free);
    const std::string bytes = builder.bytes();
    const std::string path = dir.file(builder.name());
    test::write_bytes(path, bytes);
    std::atomic<bool> stop = false;
    std::thread shrinker([&] {
        std::mt19937 random(1);
        while (!stop) {
            ASSERT_EQ(::truncate(path.c_str(), static_cast<off_t>(random() % bytes.size())), 0);
            test::write_bytes(path, bytes);
        }
    });
    int read = 0;
    for (int i = 0; i < 2000; ++i) {
        const ReadResult result = read_file(path, Parts::all);
        if (result.snapshot)
            ++read;
        else
            EXPECT_FALSE(result.error.empty());
    }
    stop = true;
    shrinker.join();
}

TEST(Reader, TellsLivingProcessesFromEnded) {
    const auto self = static_cast<std::uint64_t>(::getpid());
    const auto ticks = process_start_ticks(self);
    ASSERT_TRUE(ticks);
    EXPECT_TRUE(process_alive(self, *ticks));
    EXPECT_FALSE(process_alive(self, *ticks + 1));  // the pid, reused
    EXPECT_FALSE(process_alive(kNobody, 1));
    TemporaryDir dir;
    SegmentBuilder builder(self, *ticks);
    const std::string path = builder.write(dir);
    EXPECT_TRUE(read_file(path, Parts::counters).snapshot->alive);
    const std::string exec = dir.file(std::to_string(self) + "-" + std::to_string(*ticks) + ".exec1.hakmem");
    std::filesystem::rename(path, exec);
    EXPECT_FALSE(read_file(exec, Parts::counters).snapshot->alive);
}

TEST(FindFiles, ListsSegmentsAndThoseOfRuns) {
    TemporaryDir dir;
    for (const char *name : {"2-2.hakmem", "1-1.hakmem", "other", "3-3.exec1.hakmem"})
        test::write_bytes(dir.file(name), "");
    std::filesystem::create_directory(dir.file("run-9-9"));
    test::write_bytes(dir.file("run-9-9/4-4.hakmem"), "");
    std::filesystem::create_directory(dir.file("elsewhere"));
    test::write_bytes(dir.file("elsewhere/5-5.hakmem"), "");
    std::string error;
    const auto files = find_files(dir.path(), error);
    EXPECT_EQ(error, "");
    ASSERT_EQ(files.size(), 4U);
    EXPECT_EQ(files[0].path, dir.file("1-1.hakmem"));
    EXPECT_EQ(files[3].path, dir.file("run-9-9/4-4.hakmem"));
    EXPECT_TRUE(find_files(dir.file("none"), error).empty());
    EXPECT_NE(error.find("No such file"), std::string::npos);
}

TEST(Control, ChangesWhatIsAskedAndRaisesTheGeneration) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.header.control = {3, 0, 0, 60, 524'288, 5, 6, 7, 8, 0};
    const std::string path = builder.write(dir);
    std::uint32_t generation = 0;
    EXPECT_EQ(change_control(path, {Level::verify, OnError::abort, {}, 1024}, generation), "");
    EXPECT_EQ(generation, 4U);
    const Control control = read_file(path, Parts::counters).snapshot->control;
    EXPECT_EQ(control.generation, 4U);
    EXPECT_EQ(control.level, static_cast<std::uint32_t>(Level::verify));
    EXPECT_EQ(control.on_error, static_cast<std::uint32_t>(OnError::abort));
    EXPECT_EQ(control.audit_interval_s, 60U);
    EXPECT_EQ(control.sample_bytes, 1024U);
    EXPECT_EQ(control.audit_request, 5U);
    EXPECT_EQ(control.hunt_request, 6U);
    EXPECT_EQ(control.hunt_key, 7U);
    EXPECT_NE(change_control(dir.file("9-9.hakmem"), {}, generation), "");

    std::uint32_t request = 0;
    EXPECT_EQ(request_hunt(path, 0xABCDEF0123456789, 144, request), "");
    EXPECT_EQ(request, 7U);
    const Control asked = read_file(path, Parts::counters).snapshot->control;
    EXPECT_EQ(asked.generation, 5U);
    EXPECT_EQ(asked.hunt_request, 7U);
    EXPECT_EQ(asked.hunt_key, 0xABCDEF0123456789U);
    EXPECT_EQ(asked.hunt_slot_bytes, 144U);
    EXPECT_EQ(asked.level, control.level);
    EXPECT_EQ(asked.audit_request, 5U);
    EXPECT_NE(request_hunt(dir.file("9-9.hakmem"), 1, 2, request), "");
}

// Several at once: none takes back what another has written, and each change has a generation of its own.
TEST(Control, WritersTakeTurns) {
    TemporaryDir dir;
    SegmentBuilder builder;
    builder.header.control = {10, 0, 0, 0, 1, 20, 30, 0, 0, 0};
    const std::string path = builder.write(dir);
    constexpr std::uint32_t kRounds = 200;
    std::vector<std::uint32_t> generations[2];
    std::vector<std::thread> writers;
    writers.emplace_back([&] {
        for (std::uint32_t i = 1; i <= kRounds; ++i) {
            std::uint32_t generation = 0;
            EXPECT_EQ(change_control(path, {{}, {}, i, {}}, generation), "");
            generations[0].push_back(generation);
        }
    });
    writers.emplace_back([&] {
        for (std::uint32_t i = 1; i <= kRounds; ++i) {
            std::uint32_t generation = 0;
            EXPECT_EQ(change_control(path, {{}, {}, {}, 1000 + i}, generation), "");
            generations[1].push_back(generation);
        }
    });
    writers.emplace_back([&] {
        for (std::uint32_t i = 1; i <= kRounds; ++i) {
            std::uint32_t request = 0;
            EXPECT_EQ(request_audit(path, request), "");
            EXPECT_EQ(request, 20 + i);
            EXPECT_EQ(request_hunt(path, i, 64, request), "");
            EXPECT_EQ(request, 30 + i);
        }
    });
    for (std::thread &writer : writers) writer.join();
    const Control control = read_file(path, Parts::counters).snapshot->control;
    EXPECT_EQ(control.generation, 10 + 3 * kRounds);
    EXPECT_EQ(control.audit_interval_s, kRounds);
    EXPECT_EQ(control.sample_bytes, 1000 + kRounds);
    EXPECT_EQ(control.audit_request, 20 + kRounds);
    EXPECT_EQ(control.hunt_request, 30 + kRounds);
    EXPECT_EQ(control.hunt_key, kRounds);
    std::set<std::uint32_t> all(generations[0].begin(), generations[0].end());
    all.insert(generations[1].begin(), generations[1].end());
    EXPECT_EQ(all.size(), 2 * kRounds);
}

// Somebody holds the lock and doesn't let go.
TEST(Control, WhatIsLockedIsNotWaitedForForEver) {
    TemporaryDir dir;
    SegmentBuilder builder;
    const std::string path = builder.write(dir);
    const int fd = open(path.c_str(), O_RDONLY);
    ASSERT_EQ(flock(fd, LOCK_EX), 0);
    std::uint32_t request = 0;
    EXPECT_EQ(request_audit(path, request), "");
    EXPECT_EQ(read_file(path, Parts::counters).snapshot->control.audit_request, request);
    close(fd);
}

}  // namespace
}  // namespace hakmem::segment
