// A scrape of many processes: each of a hundred running ones, of 64 threads and a name of its own, is in the text, and
// it takes no longer than promised.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <chrono>

#include "collect/collector.h"
#include "prometheus/exposition.h"
#include "segment_builder.h"

namespace hakmem {
namespace {

constexpr unsigned kProcesses = 100;
constexpr unsigned kThreads = 64;
using Milliseconds = std::chrono::duration<double, std::milli>;
constexpr Milliseconds kPromised{20};
constexpr int kScrapes = 15;

Milliseconds processor_time() {
    timespec now{};
    ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

// A process that does nothing, for as long as this object lives.
class Child {
  public:
    Child() : pid_(::fork()) {
        if (pid_ == 0) {
            for (;;) ::pause();
        }
    }
    ~Child() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;
    std::uint64_t pid() const { return static_cast<std::uint64_t>(pid_); }

  private:
    const pid_t pid_;
};

void write_segment(const test::TemporaryDir &dir, std::uint64_t pid, unsigned number) {
    test::SegmentBuilder builder(pid, segment::process_start_ticks(pid).value());
    test::set_text(builder.header.process, "service-" + std::to_string(number));
    builder.shards.resize(kThreads);
    for (segment::CounterShard &shard : builder.shards) {
        shard.tid = static_cast<std::uint32_t>(pid);
        for (unsigned i = 0; i < segment::kCounterRow; ++i) {
            shard.allocations[i] = 1'000 + i + number;
            shard.frees[i] = 900 + i;
        }
        shard.incidents[0] = 1;
    }
    builder.write(dir);
}

TEST(Scrape, HundredProcesses) {
    std::vector<Child> children(kProcesses);
    const test::TemporaryDir dir;
    for (unsigned i = 0; i < kProcesses; ++i) write_segment(dir, children[i].pid(), i);
    CollectorOptions options;
    options.runtime_dir = dir.path();
    Collector collector(options);

    const std::string text = scrape(collector);
    for (const unsigned i : {0U, 57U, kProcesses - 1}) {
        const std::string name = "process=\"service-" + std::to_string(i) + "\"";
        const std::string allocations = std::to_string(kThreads * (1'000 + i));
        EXPECT_NE(text.find("hakmem_allocations_total{" + name + ",size_class=\"16\"} " + allocations + "\n"),
                  std::string::npos)
            << i;
        EXPECT_NE(
            text.find("hakmem_incidents_total{" + name + ",kind=\"double_free\"} " + std::to_string(kThreads) + "\n"),
            std::string::npos)
            << i;
        EXPECT_NE(text.find("hakmem_processes{" + name + ",level=\"count\"} 1\n"), std::string::npos) << i;
    }
    EXPECT_NE(text.find("hakmem_exporter_segments " + std::to_string(kProcesses) + "\n"), std::string::npos);

    // The machine may be busy with other tests: the processor's time, and at best, is what tells about the code.
    Milliseconds best{1e9};
    for (int i = 0; i < kScrapes; ++i) {
        const Milliseconds begin = processor_time();
        EXPECT_EQ(scrape(collector).size() > text.size() / 2, true);
        best = std::min(best, processor_time() - begin);
    }
    RecordProperty("best_ms", std::to_string(best.count()));
    std::printf("%u processes of %u threads, %zu bytes: %.1f ms of processor time at best\n", kProcesses, kThreads,
                text.size(), best.count());
    EXPECT_LE(best, kPromised);
}

}  // namespace
}  // namespace hakmem
