// One thread, a working set of blocks of random sizes, each step frees or allocates at a random place.
#include <vector>

#include "common.h"

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Random allocation and freeing of random sizes on one thread.",
                               "[OPERATIONS [MAX_SIZE [SEED]]]");
    const long operations = arguments.number(10'000'000, 1, 1L << 40);
    const long max_size = arguments.number(1024, 1, 1L << 30);
    const long seed = arguments.number(1, 0, 1L << 40);
    arguments.done();

    constexpr std::size_t kSlots = 20'000;
    std::vector<char *> slots(kSlots);
    bench::Random random(static_cast<std::uint64_t>(seed));
    const double start = bench::seconds();
    for (long i = 0; i < operations; ++i) {
        char *&slot = slots[random.below(kSlots)];
        if (slot != nullptr) {
            std::free(slot);
            slot = nullptr;
        } else {
            slot = bench::fresh(1 + random.below(static_cast<std::uint64_t>(max_size)));
        }
    }
    const double elapsed = bench::seconds() - start;
    for (char *slot : slots) std::free(slot);
    bench::report("random_mixed", static_cast<double>(operations), elapsed);
}
