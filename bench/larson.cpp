// Larson and Krishnan's server simulation: each thread replaces random blocks of its array; after a number of rounds it
// ends and a new thread inherits the array, so blocks are freed by threads that did not allocate them.
#include <atomic>
#include <thread>
#include <vector>

#include "common.h"

namespace {

struct Settings {
    std::size_t low, high;
    long blocks, rounds;
};

std::atomic<long> operations{0};
std::atomic<bool> stop{false};

void serve(Settings settings, std::vector<char *> blocks, std::uint64_t seed) {
    bench::Random random(seed);
    long done = 0;
    for (long i = 0; i < settings.rounds * settings.blocks && !stop.load(std::memory_order_relaxed); ++i, ++done) {
        char *&slot = blocks[random.below(blocks.size())];
        std::free(slot);
        slot = bench::fresh(settings.low + random.below(settings.high - settings.low + 1));
    }
    operations.fetch_add(done, std::memory_order_relaxed);
    if (stop.load(std::memory_order_relaxed)) {
        for (char *block : blocks) std::free(block);
        return;
    }
    // The heir goes on with what this thread leaves.
    std::thread heir(serve, settings, std::move(blocks), seed + 1000);
    heir.detach();
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Server simulation: threads replace random blocks and pass them on.",
                               "[SECONDS [MIN_SIZE [MAX_SIZE [BLOCKS_A_THREAD [ROUNDS [SEED [THREADS]]]]]]]");
    const long run_seconds = arguments.number(1, 1, 3600);
    const long low = arguments.number(8, 1, 1 << 20), high = arguments.number(500, 1, 1 << 26);
    const long blocks = arguments.number(1000, 1, 10'000'000), rounds = arguments.number(100, 1, 1'000'000);
    const long seed = arguments.number(1, 0, 1L << 40), threads = arguments.number(1, 1, 256);
    arguments.done();
    if (high < low) {
        std::fprintf(stderr, "%s: MAX_SIZE is below MIN_SIZE\n", argv[0]);
        return 2;
    }
    const Settings settings{static_cast<std::size_t>(low), static_cast<std::size_t>(high), blocks, rounds};
    const double start = bench::seconds();
    for (long t = 0; t < threads; ++t) {
        std::vector<char *> own(static_cast<std::size_t>(blocks));
        bench::Random random(static_cast<std::uint64_t>(seed + t));
        for (char *&block : own) block = bench::fresh(settings.low + random.below(settings.high - settings.low + 1));
        std::thread(serve, settings, std::move(own), static_cast<std::uint64_t>(seed + t)).detach();
    }
    std::this_thread::sleep_for(std::chrono::seconds(run_seconds));
    stop = true;
    const double elapsed = bench::seconds() - start;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    std::printf("%ld threads, ", threads);
    bench::report("larson", static_cast<double>(operations.load()), elapsed);
    std::fflush(stdout);
    std::_Exit(0);  // heirs may still be ending
}
