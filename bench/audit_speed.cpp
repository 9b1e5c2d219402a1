// How fast an audit is: GiB of small-block heap whose headers are all looked at, a second, while other threads allocate
// and free. Runs under the diagnostic library, which it asks through hakmem.h; bench/diagnosis does that.
#include "hakmem.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "common.h"

namespace {

constexpr std::size_t kMaxSmall = 8000;

std::atomic<bool> stop{false};

// What other threads do meanwhile: blocks come and go.
void churn(std::uint64_t seed) {
    bench::Random random(seed);
    std::vector<char *> blocks(1000, nullptr);
    while (!stop.load(std::memory_order_relaxed)) {
        char *&block = blocks[random.below(blocks.size())];
        std::free(block);
        block = bench::fresh(random.log_uniform(16, 1024));
    }
    for (char *block : blocks) std::free(block);
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Speed of hakmem_audit(). To be run under libhakmem-diag.so.",
                               "[MIB [THREADS [AUDITS [MIN_SIZE]]]]");
    const long mib = arguments.number(1024, 1, 1L << 20), threads = arguments.number(2, 0, 1000);
    const long audits = arguments.number(5, 1, 1000), min_size = arguments.number(16, 1, kMaxSmall);
    arguments.done();
    if (hakmem_library_in_use() != HAKMEM_DIAGNOSTIC) {
        std::fprintf(stderr, "%s: not run under libhakmem-diag.so\n", argv[0]);
        return 1;
    }
    bench::Random random(1);
    std::vector<char *> blocks;
    for (std::size_t filled = 0; filled < static_cast<std::size_t>(mib) << 20;) {
        const std::size_t size = random.log_uniform(static_cast<std::size_t>(min_size), kMaxSmall);
        blocks.push_back(bench::fresh(size));
        filled += size;
    }
    std::vector<std::thread> others;
    for (long i = 0; i < threads; ++i) others.emplace_back(churn, i + 1);

    std::vector<double> times;
    hakmem_counters counters{};
    hakmem_audit_result result{};
    for (long i = 0; i < audits; ++i) {
        hakmem_read_counters(&counters);
        const double start = bench::seconds();
        if (hakmem_audit(&result) != 0) {
            std::fprintf(stderr, "%s: the audit did not come out clean\n", argv[0]);
            return 1;
        }
        times.push_back(bench::seconds() - start);
    }
    stop = true;
    for (std::thread &other : others) other.join();
    std::sort(times.begin(), times.end());
    const double median = times[times.size() / 2];
    const double gib = static_cast<double>(counters.live_bytes + counters.quarantine_bytes) / (1 << 30);
    std::printf("%.2f GiB of blocks, %ld other threads: %.1f million headers in %.0f ms, %.2f GiB a second\n", gib,
                threads, static_cast<double>(result.headers) / 1e6, median * 1000, gib / median);
    for (char *block : blocks) std::free(block);
}
