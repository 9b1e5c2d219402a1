#include "diag/probe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "core/allocator.h"
#include "diag/backtrace.h"
#include "diag/process.h"
#include "diag/quarantine.h"
#include "diag/segment_writer.h"
#include "diag/state.h"
#include "temporary_directory.h"

// The library's life is that of a process: each test runs its part in a child and then reads what the child left, as
// the exporter would.
namespace hakmem {
namespace {

using segment::CounterShard;
using segment::Header;
using segment::IncidentRecord;
using segment::OnError;

constexpr SlotBytes kSlots = {16, 32};

class ProbeTest : public ::testing::Test {
  protected:
    static constexpr int kFailedInside = 99;

    struct Ended {
        pid_t pid;
        int status;
        std::string said;
    };

    // Runs `body` with the library started in a process of its own.
    Ended run(const std::string &options, const std::function<void()> &body) {
        return run_alone(options, [&] {
            DiagProbe::library_started(kSlots, nullptr);
            body();
        });
    }

    // The same, where the allocator starts it.
    Ended run_alone(const std::string &options, const std::function<void()> &body) {
        const std::string output = root / "stderr";
        const pid_t pid = fork();
        if (pid == 0) {
            const int fd = open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
            dup2(fd, STDERR_FILENO);
            setenv("HAKMEM_RUNTIME_DIR", directory.c_str(), 1);
            setenv("HAKMEM_OPTIONS", options.c_str(), 1);
            setenv("HAKMEM_PROCESS", "a-label", 1);
            body();
            _exit(::testing::Test::HasFailure() ? kFailedInside : 0);
        }
        int status = 0;
        waitpid(pid, &status, 0);
        std::ifstream file(output);
        std::stringstream text;
        text << file.rdbuf();
        EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == kFailedInside) << "see the failures above";
        return {pid, status, text.str()};
    }

    struct File {
        Header header{};
        std::vector<char> bytes;

        std::uint64_t sum(std::size_t offset) const {
            std::uint64_t sum = 0;
            for (std::uint32_t i = 0; i < header.shards_used; ++i) {
                std::uint64_t value = 0;
                std::memcpy(&value, &bytes[kShardsAt + i * sizeof(CounterShard) + offset], sizeof value);
                sum += value;
            }
            return sum;
        }
        IncidentRecord incident(std::uint32_t index) const {
            IncidentRecord record;
            std::memcpy(&record, &bytes[kIncidentsAt + std::uint64_t{index} * kIncidentBytes], sizeof record);
            return record;
        }
    };

    std::vector<File> files_of(pid_t pid) const {
        std::vector<File> files;
        for (const auto &entry : std::filesystem::directory_iterator(directory)) {
            if (entry.path().filename().string().rfind(std::to_string(pid) + '-', 0) != 0) continue;
            std::ifstream in(entry.path(), std::ios::binary);
            File file;
            file.bytes.assign(std::istreambuf_iterator<char>(in), {});
            std::memcpy(&file.header, file.bytes.data(), sizeof file.header);
            files.push_back(std::move(file));
        }
        return files;
    }

    File only_file_of(pid_t pid) const {
        std::vector<File> files = files_of(pid);
        EXPECT_EQ(files.size(), 1u);
        return files.empty() ? File{} : files[0];
    }

    TemporaryDirectory root;
    std::string directory = root / "run";
};

Finding double_free_of(std::uintptr_t address) {
    Finding finding;
    finding.facts.address = address;
    finding.facts.block = address;
    finding.facts.slot_bytes = 32;
    finding.facts.mapped = true;
    finding.kind = Kind::double_free;
    return finding;
}

int memory[64];

Finding some_double_free() { return double_free_of(reinterpret_cast<std::uintptr_t>(memory + 8)); }

TEST_F(ProbeTest, TellsWhoItIsAndCounts) {
    const Ended ended = run("level=verify", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        for (unsigned i = 0; i < 1000; ++i) DiagProbe::allocated(thread, 1);
        DiagProbe::freed(thread, 1);
        DiagProbe::large_allocated(thread, 5000);
        DiagProbe::heap_changed({.mapped_bytes = 1, .block_bytes = 2, .resident_free_bytes = 3, .quarantine_bytes = 4});
        EXPECT_TRUE(DiagProbe::verify_frees());
        DiagProbe::thread_ended(thread);
        DiagProbe::library_ended();
    });
    EXPECT_EQ(ended.said, "");
    const File file = only_file_of(ended.pid);
    EXPECT_EQ(file.header.magic, segment::kMagic);
    EXPECT_EQ(file.header.pid, static_cast<std::uint64_t>(ended.pid));
    EXPECT_STREQ(file.header.process, "a-label");
    EXPECT_STREQ(process::base_name(file.header.exe), "probe_test");
    EXPECT_NE(file.header.version_text[0], '\0');
    EXPECT_EQ(file.header.slot_bytes[1], 32u);
    EXPECT_EQ(file.header.level, 1u);
    EXPECT_GE(file.header.ended_ns, file.header.start_time_ns);
    EXPECT_EQ(file.header.gauges.block_bytes, 2u);
    EXPECT_EQ(file.sum(offsetof(CounterShard, allocations) + 8), 1000u);
    EXPECT_EQ(file.sum(offsetof(CounterShard, frees) + 8), 1u);
    EXPECT_EQ(file.sum(offsetof(CounterShard, large_allocated_bytes)), 5000u);
}

TEST_F(ProbeTest, ABadFreeIsOneIncidentPerSiteAndCountedEachTime) {
    const Ended ended = run("", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        for (unsigned i = 0; i < 5; ++i) DiagProbe::bad_free(thread, some_double_free());
        DiagProbe::bad_free(thread, some_double_free());
    });
    const File file = only_file_of(ended.pid);
    EXPECT_EQ(file.sum(offsetof(CounterShard, incidents)), 6u);
    EXPECT_EQ(file.sum(offsetof(CounterShard, header_invalid) + 16), 6u);
    EXPECT_EQ(file.sum(offsetof(CounterShard, backtraces)), 6u);
    ASSERT_EQ(file.header.incidents_used, 2u);
    const IncidentRecord record = file.incident(0);
    EXPECT_EQ(record.sequence, 2u);
    EXPECT_EQ(record.count, 5u);
    EXPECT_EQ(file.incident(1).count, 1u);
    EXPECT_EQ(record.slot_bytes, 32u);
    EXPECT_EQ(record.dump_bytes, 32u);
    EXPECT_EQ(record.dump_address, reinterpret_cast<std::uintptr_t>(memory + 8) - 1 - 16);
    ASSERT_GT(record.free.frames, 2u);
    EXPECT_LT(record.free.module[0], file.header.modules_used);
}

TEST_F(ProbeTest, AnotherAllocatorsBlockIsCountedAndNoIncident) {
    const Ended ended = run("", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        Finding finding = some_double_free();
        finding.outcome = HeaderInvalid::foreign;
        finding.incident = false;
        DiagProbe::bad_free(thread, finding);
    });
    const File file = only_file_of(ended.pid);
    EXPECT_EQ(file.sum(offsetof(CounterShard, header_invalid) + 8), 1u);
    EXPECT_EQ(file.header.incidents_used, 0u);
}

TEST_F(ProbeTest, OnErrorAbortReportsAndDiesWhateverTheProgramDoesWithTheSignal) {
    const Ended ended = run("on_error=abort", [] {
        signal(SIGABRT, SIG_IGN);
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        DiagProbe::bad_free(thread, some_double_free());
    });
    ASSERT_TRUE(WIFSIGNALED(ended.status));
    EXPECT_EQ(WTERMSIG(ended.status), SIGABRT);
    EXPECT_EQ(ended.said.rfind("hakmem: double_free: free of 0x", 0), 0u) << ended.said;
    EXPECT_NE(ended.said.find("#0 0x"), std::string::npos);
    EXPECT_EQ(only_file_of(ended.pid).header.incidents_used, 1u);
}

TEST_F(ProbeTest, OnErrorStopWaitsForADebugger) {
    const pid_t pid = fork();
    if (pid == 0) {
        setenv("HAKMEM_RUNTIME_DIR", directory.c_str(), 1);
        setenv("HAKMEM_OPTIONS", "on_error=stop", 1);
        DiagProbe::library_started(kSlots, nullptr);
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        DiagProbe::bad_free(thread, some_double_free());
        _exit(3);
    }
    int status = 0;
    waitpid(pid, &status, WUNTRACED);
    EXPECT_TRUE(WIFSTOPPED(status));
    kill(pid, SIGCONT);
    waitpid(pid, &status, 0);
    EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST_F(ProbeTest, AForkedChildCountsForItself) {
    pid_t pids[2] = {};
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const Ended ended = run("", [&] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        DiagProbe::allocated(thread, 0);
        DiagProbe::bad_free(thread, some_double_free());
        DiagProbe::before_fork();
        const pid_t child = fork();
        if (child == 0) {
            DiagProbe::after_fork_in_child(thread);
            for (unsigned i = 0; i < 7; ++i) DiagProbe::allocated(thread, 0);
            DiagProbe::bad_free(thread, some_double_free());
            _exit(0);
        }
        DiagProbe::after_fork_in_parent();
        waitpid(child, nullptr, 0);
        DiagProbe::allocated(thread, 0);
        [[maybe_unused]] const ssize_t written = write(ends[1], &child, sizeof child);
    });
    pids[0] = ended.pid;
    ASSERT_EQ(read(ends[0], &pids[1], sizeof(pid_t)), static_cast<ssize_t>(sizeof(pid_t)));
    close(ends[0]);
    close(ends[1]);
    const File parent = only_file_of(pids[0]);
    const File child = only_file_of(pids[1]);
    EXPECT_EQ(parent.sum(offsetof(CounterShard, allocations)), 2u);
    EXPECT_EQ(child.sum(offsetof(CounterShard, allocations)), 7u);
    EXPECT_EQ(parent.header.incidents_used, 1u);
    EXPECT_EQ(child.header.incidents_used, 1u);
    EXPECT_EQ(child.incident(0).count, 1u);
    EXPECT_GT(child.header.modules_used, 0u);
    EXPECT_EQ(child.header.pid, static_cast<std::uint64_t>(pids[1]));
    EXPECT_STREQ(child.header.process, "a-label");
}

TEST_F(ProbeTest, TheControlWordIsFollowedAndNonsenseInItIsNot) {
    const Ended ended = run("", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        segment::Header &header = state.segment.header();
        EXPECT_FALSE(DiagProbe::verify_frees());
        header.control.level = static_cast<std::uint32_t>(segment::Level::verify);
        DiagProbe::poll(thread);
        EXPECT_FALSE(DiagProbe::verify_frees()) << "before the generation was raised";
        ++header.control.generation;
        DiagProbe::poll(thread);
        EXPECT_TRUE(DiagProbe::verify_frees());
        EXPECT_EQ(header.control_seen, 1u);
        EXPECT_EQ(header.level, 1u);
        header.control.level = 4711;
        header.control.on_error = 4711;
        ++header.control.generation;
        DiagProbe::poll(thread);
        EXPECT_TRUE(DiagProbe::verify_frees());
        EXPECT_EQ(state.on_error.load(), OnError::keep_going);
        header.control.level = static_cast<std::uint32_t>(segment::Level::count);
        ++header.control.generation;
        DiagProbe::poll(thread);
        EXPECT_FALSE(DiagProbe::verify_frees());
    });
    EXPECT_EQ(ended.status, 0) << ended.said;
}

TEST_F(ProbeTest, WithoutARuntimeDirectoryItSaysSoOnceAndRunsOn) {
    directory = "/proc/nowhere";
    const Ended ended = run("", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        DiagProbe::allocated(thread, 0);
        DiagProbe::bad_free(thread, some_double_free());
        DiagProbe::before_fork();
        const pid_t child = fork();
        if (child == 0) {
            DiagProbe::after_fork_in_child(thread);
            DiagProbe::allocated(thread, 0);
            _exit(0);
        }
        DiagProbe::after_fork_in_parent();
        int status = 1;
        waitpid(child, &status, 0);
        _exit(status == 0 ? 0 : 1);
    });
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(std::count(ended.said.begin(), ended.said.end(), '\n'), 1) << ended.said;
    EXPECT_NE(ended.said.find("running without telemetry: /proc/nowhere"), std::string::npos) << ended.said;
}

TEST_F(ProbeTest, WrongOptionsAreToldAndTheRestCounts) {
    const Ended ended = run("levl=verify:level=verify:stack_depth=900", [] {
        if (!DiagProbe::verify_frees()) _exit(1);
    });
    EXPECT_EQ(ended.status, 0);
    EXPECT_EQ(std::count(ended.said.begin(), ended.said.end(), '\n'), 2) << ended.said;
}

TEST_F(ProbeTest, HigherLevelsIncludeTheLower) {
    const Ended ended = run("level=guard", [] {
        DiagProbe::ThreadState thread{};
        DiagProbe::thread_started(thread);
        if (!DiagProbe::verify_frees() || !DiagProbe::watches_all(thread)) _exit(1);
        // Every allocation is due, and gets room that is not the program's.
        for (int i = 0; i < 3; ++i) {
            if (!DiagProbe::due(thread, 3)) _exit(2);
            const WatchPlan plan = DiagProbe::plan(thread, 40, 3, kNoNumber);
            if (!plan.watch || plan.slack == 0) _exit(3);
        }
    });
    EXPECT_EQ(ended.said, "");
    EXPECT_EQ(only_file_of(ended.pid).header.level, 3u);
}

TEST_F(ProbeTest, ThreadsThatAllFailAtOnceLoseNothing) {
    constexpr unsigned kThreads = 8;
    constexpr unsigned kRounds = 500;
    const Ended ended = run("", [] {
        std::vector<std::thread> threads;
        for (unsigned t = 0; t < kThreads; ++t) {
            threads.emplace_back([] {
                DiagProbe::ThreadState thread{};
                DiagProbe::thread_started(thread);
                for (unsigned i = 0; i < kRounds; ++i) DiagProbe::bad_free(thread, some_double_free());
                DiagProbe::thread_ended(thread);
            });
        }
        for (std::thread &thread : threads) thread.join();
    });
    const File file = only_file_of(ended.pid);
    EXPECT_EQ(file.sum(offsetof(CounterShard, incidents)), std::uint64_t{kThreads} * kRounds);
    std::uint64_t recorded = 0;
    for (std::uint32_t i = 0; i < file.header.incidents_used; ++i) recorded += file.incident(i).count;
    EXPECT_EQ(recorded, std::uint64_t{kThreads} * kRounds);
}

// ---- with the whole allocator ----

using Diagnosed = Allocator<DiagProbe>;

// The exit status of a child forked here that does `f`.
template <class F>
int status_of_child(F f) {
    Diagnosed::before_fork();
    const pid_t child = fork();
    if (child == 0) {
        Diagnosed::after_fork_in_child();
        _exit(f());
    }
    Diagnosed::after_fork_in_parent();
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

// While another thread is in the middle of an audit.
TEST_F(ProbeTest, AForkedChildCanAudit) {
    run_alone("", [] {
        for (int i = 0; i < 50'000; ++i) ASSERT_NE(Diagnosed::allocate(400), nullptr);
        std::atomic<bool> begun{false}, stop{false};
        std::thread auditor([&] {
            Diagnosed::deallocate(Diagnosed::allocate(1));
            for (; !stop; begun = true) DiagProbe::audit_now();
        });
        while (!begun) std::this_thread::yield();
        for (int i = 0; i < 10; ++i) EXPECT_EQ(status_of_child([] { return DiagProbe::audit_now().ran ? 0 : 1; }), 0);
        stop = true;
        auditor.join();
    });
}

// What an audit found hurt may be out of bounds by the time that it is told.
TEST_F(ProbeTest, AnAuditReportsABlockThatIsFreedMeanwhile) {
    run_alone("level=guard:guard_sample=1", [] {
        Diagnosed::deallocate(Diagnosed::allocate(1));
        void *block = Diagnosed::allocate_aligned(64, 100);
        Span *span = page_map.span_of(address_of(block));
        ASSERT_EQ(span->kind, SpanKind::guarded);
        const Watched watched = watched_large(span);
        Diagnosed::deallocate(block);
        CounterShard &shard = *Diagnosed::thread_state().shard;
        Watcher::report_header16(shard, watched, true);
        EXPECT_EQ(shard.incidents[static_cast<unsigned>(Kind::large_header_corrupt)], 1u);
        EXPECT_EQ(shard.incidents[static_cast<unsigned>(Kind::guard_page_access)], 0u);
    });
}

// One is taken where the block is allocated and one where it is freed, however it goes: on fresh slots, of which none
// was watched before, between guard pages, and on slots that come again.
TEST_F(ProbeTest, EachBlockTakesTwoStacks) {
    constexpr unsigned kBlocks = 2000;
    const Ended ended = run_alone("level=guard:quarantine_bytes=65536:guard_sample=50", [] {
        std::vector<void *> blocks(kBlocks);
        const auto bytes = [](unsigned i) { return 1 + i * 37 % 3000; };
        for (unsigned round = 0; round < 3; ++round) {
            for (unsigned i = 0; i < kBlocks; ++i) blocks[i] = Diagnosed::allocate(bytes(i));
            for (void *block : blocks) Diagnosed::deallocate(block);
        }
    });
    EXPECT_EQ(ended.status, 0);
    const File file = only_file_of(ended.pid);
    EXPECT_EQ(file.sum(offsetof(CounterShard, backtraces) + sizeof(std::uint64_t)), 2u * 3 * kBlocks);
}

// Who asks while one is going on finds all threads but that one asleep: it looks once more when it is done.
TEST_F(ProbeTest, AnAuditThatIsAskedForDuringAnotherIsMade) {
    run_alone("", [] {
        // Each costs some milliseconds, until it is clear that nobody is about to change it.
        for (int i = 0; i < 30; ++i) header_byte::store(Diagnosed::allocate(400), 0x11);
        std::atomic<bool> begun{false};
        std::thread auditor([&] {
            Diagnosed::deallocate(Diagnosed::allocate(1));
            begun = true;
            EXPECT_EQ(DiagProbe::audit_now().corrupt, 30u);
        });
        while (!begun) std::this_thread::yield();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        Header &header = state.segment.header();
        std::atomic_ref(header.control.audit_request).store(1);
        DiagProbe::nudged();
        auditor.join();
        EXPECT_EQ(header.audits_done, 1u);
    });
}

// What the child takes over from threads that it does not have lets spans go: the child's own business.
TEST_F(ProbeTest, AForkedChildLeavesItsParentsGaugesAlone) {
    run_alone("", [] {
        Diagnosed::deallocate(Diagnosed::allocate(1));
        for (int i = 0; i < 3; ++i) {
            Heap *heap = heaps.acquire();
            void *block = nullptr;
            ASSERT_EQ(heap->take(5, &block, 1), 1u);
            Misfits none;
            heap->give(5, &block, 1, none);  // its span is kept in reserve
        }
        const std::uint64_t before = state.segment.header().gauges.block_bytes;
        EXPECT_EQ(status_of_child([] { return 0; }), 0);
        EXPECT_EQ(state.segment.header().gauges.block_bytes, before);
    });
}

// The place in its thread's cache that a block was handed out from still names it.
TEST_F(ProbeTest, AnAuditKnowsThatTheNewestBlockIsInUse) {
    run_alone("", [] {
        std::vector<void *> blocks(100);
        for (void *&block : blocks) {
            block = Diagnosed::allocate(40);
            const std::uint8_t header = header_byte::load(block);
            header_byte::store(block, 0x11);
            EXPECT_EQ(DiagProbe::audit_now().corrupt, 1u);
            EXPECT_EQ(header_byte::load(block), header);
        }
        void *freed = blocks.back();
        Diagnosed::deallocate(freed);
        const std::uint8_t header = header_byte::load(freed);
        header_byte::store(freed, 0x11);
        EXPECT_EQ(DiagProbe::audit_now().corrupt, 1u);
        EXPECT_EQ(header_byte::load(freed), header);
    });
}

// The memory of one that is a mapping of its own goes at once, while another thread looks at it.
TEST_F(ProbeTest, AnAuditLooksAtHugeBlocksWhileTheyAreFreed) {
    const Ended ended = run_alone("level=guard:quarantine_bytes=300000000", [] {
        std::atomic<bool> stop{false};
        std::thread auditor([&] {
            Diagnosed::deallocate(Diagnosed::allocate(1));
            while (!stop) EXPECT_EQ(DiagProbe::audit_now().corrupt, 0u);
        });
        for (int i = 0; i < 25; ++i) Diagnosed::deallocate(Diagnosed::allocate(PageHeap::kDirectBytes + 5000));
        stop = true;
        auditor.join();
    });
    EXPECT_EQ(ended.status, 0);
}

// As many bytes leave as come in, however small the blocks are that leave.
TEST_F(ProbeTest, QuarantineKeepsItsBoundWhenLargerBlocksFollowSmallOnes) {
    const Ended ended = run_alone("level=guard:guard_sample=0", [] {
        constexpr std::int64_t kBound = 16 << 20, kUntold = 64 << 10;
        const auto free_many = [](std::size_t bytes, int count) {
            std::vector<void *> blocks;
            for (int i = 0; i < count; ++i) blocks.push_back(Diagnosed::allocate(bytes));
            std::int64_t most = 0;
            for (void *block : blocks) {
                Diagnosed::deallocate(block);
                most = std::max(most, static_cast<std::int64_t>(Quarantine::total_bytes()));
            }
            return most;
        };
        EXPECT_GT(free_many(60, 200'000), kBound / 2);
        EXPECT_LT(free_many(7000, 5'000), kBound + kUntold);
        EXPECT_GT(free_many(60, 200'000), kBound / 2);
        EXPECT_LT(free_many(std::size_t{1} << 20, 100), kBound + kUntold) << "these go another way";
    });
    EXPECT_EQ(ended.status, 0);
}

}  // namespace
}  // namespace hakmem
