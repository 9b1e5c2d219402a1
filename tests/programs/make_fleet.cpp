// Makes what a large fleet makes, to measure by:
//
//   make_fleet segments DIR PROCESSES [THREADS]
//       the segments of that many running processes of 16 threads each, or as many as are named; says `ready`, and ends
//       when its input does
//   make_fleet incidents URL INCIDENTS HOSTS FINGERPRINTS BUILDS CONNECTIONS
//       the incidents of that many hosts, sent to a database by the sink that the exporter has; prints JSON
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <thread>
#include <vector>

#include "incident/json.h"
#include "made_incident.h"
#include "segment_builder.h"
#include "sink/postgres_sink.h"
#include "text/text.h"

namespace {

using namespace hakmem;

constexpr unsigned kThreads = 16;   // of a process, unless another number is named
constexpr unsigned kNames = 50;     // of processes on one host
constexpr unsigned kBatch = 100;    // incidents of a host that are sent at once
constexpr unsigned kPrime = 7'919;  // spreads the bugs over the hosts

unsigned number_of(const char *text) {
    const auto number = text::parse_unsigned(text);
    if (!number || *number == 0 || *number > 100'000'000)
        throw std::invalid_argument(std::string("not a number: ") + text);
    return static_cast<unsigned>(*number);
}

void make_segments(const std::string &folder, unsigned processes, unsigned threads) {
    std::vector<pid_t> children;
    for (unsigned number = 0; number < processes; ++number) {
        const pid_t child = ::fork();
        if (child == 0)
            for (;;) ::pause();
        if (child < 0) break;
        children.push_back(child);
        const auto pid = static_cast<std::uint64_t>(child);
        test::SegmentBuilder builder(pid, segment::process_start_ticks(pid).value());
        test::set_text(builder.header.process, "service-" + std::to_string(number % kNames));
        builder.shards.resize(threads);
        for (segment::CounterShard &shard : builder.shards) {
            shard.tid = static_cast<std::uint32_t>(pid);
            for (unsigned i = 0; i < segment::kCounterRow; ++i) {
                shard.allocations[i] = 1'000 + i + number;
                shard.frees[i] = 900 + i;
            }
        }
        builder.write(folder + "/" + builder.name());
    }
    std::printf("ready\n");
    std::fflush(stdout);
    while (std::getchar() != EOF) {
    }
    for (const pid_t child : children) ::kill(child, SIGKILL);
    for (const pid_t child : children) ::waitpid(child, nullptr, 0);
    if (children.size() != processes) throw std::runtime_error("fork failed");
}

// Incident `number` of a host. A build is on each host for as long as the next one is not.
SinkItem item_of(unsigned host, unsigned number, unsigned hosts, unsigned fingerprints, unsigned builds,
                 std::uint64_t now_ns) {
    const unsigned print = (host * kPrime + number) % fingerprints;
    Incident incident = made::make(print + fingerprints * (number % 3), fingerprints, now_ns);
    incident.id = made::hash(0x1'0000'0000ULL + std::uint64_t{number} * hosts + host);
    const unsigned build = (print + number + host) % builds;
    const std::string build_id = made::hash(7 + build) + made::hash(9 + build) + "00000000";
    for (const StackName &entry : kStacks)
        for (Frame &frame : incident.*entry.stack) frame.build_id = build_id;
    std::string json = to_json_text(incident);
    return {std::move(incident), std::move(json)};
}

void send_incidents(const std::string &url, unsigned incidents, unsigned hosts, unsigned fingerprints, unsigned builds,
                    unsigned connections) {
    const auto begin = std::chrono::steady_clock::now();
    const auto now_ns = static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count());
    std::atomic<unsigned> next_host = 0;
    std::atomic<std::uint64_t> sent = 0, bytes = 0, failed = 0;
    const auto work = [&] {
        for (unsigned host = next_host++; host < hosts; host = next_host++) {
            PostgresSink sink(url, {"host-" + std::to_string(host), "store", "host-" + std::to_string(host) + ":9765"});
            const unsigned own = incidents / hosts + (host < incidents % hosts ? 1 : 0);
            SinkBatch batch;
            for (unsigned number = 0; number < own; ++number) {
                batch.items.push_back(item_of(host, number, hosts, fingerprints, builds, now_ns));
                bytes += batch.items.back().json.size();
                if (batch.items.size() < kBatch && number + 1 < own) continue;
                batch.after = batch.cursor;
                batch.cursor = number + 1;
                try {
                    sink.deliver(batch);
                    sent += batch.items.size();
                } catch (const SinkError &error) {
                    if (failed++ == 0) std::fprintf(stderr, "make_fleet: %s\n", error.what());
                }
                batch.items.clear();
            }
        }
    };
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < connections; ++i) threads.emplace_back(work);
    for (std::thread &thread : threads) thread.join();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    std::printf("{\"sent\": %llu, \"failed_batches\": %llu, \"seconds\": %.2f, \"json_bytes\": %llu}\n",
                static_cast<unsigned long long>(sent), static_cast<unsigned long long>(failed), elapsed.count(),
                static_cast<unsigned long long>(bytes));
    if (failed != 0) throw std::runtime_error("not everything was taken");
}

}  // namespace

int main(int argc, char **argv) {
    try {
        if ((argc == 4 || argc == 5) && std::strcmp(argv[1], "segments") == 0) {
            make_segments(argv[2], number_of(argv[3]), argc == 5 ? number_of(argv[4]) : kThreads);
        } else if (argc == 8 && std::strcmp(argv[1], "incidents") == 0) {
            send_incidents(argv[2], number_of(argv[3]), number_of(argv[4]), number_of(argv[5]), number_of(argv[6]),
                           number_of(argv[7]));
        } else {
            std::fprintf(stderr,
                         "usage: make_fleet segments DIR PROCESSES [THREADS]\n"
                         "       make_fleet incidents URL INCIDENTS HOSTS FINGERPRINTS BUILDS CONNECTIONS\n");
            return 2;
        }
    } catch (const std::exception &error) {
        std::fprintf(stderr, "make_fleet: %s\n", error.what());
        return 1;
    }
}
