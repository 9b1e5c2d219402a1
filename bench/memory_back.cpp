// Does memory come back? Fills a gibibyte with blocks of mixed sizes, frees all of them, and shows the RSS afterwards:
// by itself within SECONDS, with only a few small allocations going on, and after malloc_trim.
#include <malloc.h>
#include <unistd.h>

#include <vector>

#include "common.h"

namespace {

void show(const char *when, long kib, long peak) {
    std::printf("%s: %ld MiB, %.1f %% of the peak\n", when, kib / 1024,
                100.0 * static_cast<double>(kib) / static_cast<double>(peak));
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "RSS after a burst of blocks was freed.", "[MIB [SECONDS [MAX_SIZE]]]");
    const long mib = arguments.number(1024, 1, 1L << 20), wait = arguments.number(10, 0, 3600);
    const long max_size = arguments.number(16384, 1, 1L << 26);
    arguments.done();
    bench::Random random(1);
    std::vector<char *> blocks;
    std::size_t filled = 0;
    while (filled < static_cast<std::size_t>(mib) << 20) {
        const std::size_t size = random.log_uniform(16, static_cast<std::size_t>(max_size));
        char *block = static_cast<char *>(bench::checked(std::malloc(size)));
        std::memset(block, 1, size);
        blocks.push_back(block);
        filled += size;
    }
    const long peak = bench::rss_kib();
    for (char *block : blocks) std::free(block);
    blocks = {};
    show("peak", peak, peak);
    show("freed", bench::rss_kib(), peak);
    for (long i = 0; i < wait * 10; ++i) {
        usleep(100'000);
        for (int n = 0; n < 1000; ++n) std::free(bench::fresh(random.log_uniform(16, 4096)));
    }
    show("some seconds later", bench::rss_kib(), peak);
    malloc_trim(0);
    show("after malloc_trim", bench::rss_kib(), peak);
}
