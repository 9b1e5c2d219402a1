// What a bad free costs the program that makes it, from the call of free to its return, with a stack of at least
// FRAMES frames: the first of its kind and place, which is written down with everything, and those that follow from the
// same place, which are counted. To be run under libhakmem-diag.so; bench/diagnosis does that.
#include <algorithm>
#include <chrono>
#include <vector>

#include "common.h"

namespace {

using Clock = std::chrono::steady_clock;

struct Costs {
    double first_us = 0;
    double median_us = 0;
    double mean_us = 0;
};

template <class BadFree>
[[gnu::noinline]] Costs measure(long times, BadFree bad_free) {
    std::vector<double> costs;
    for (long i = 0; i < times; ++i) {
        const Clock::time_point start = Clock::now();
        bad_free();
        costs.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
    }
    Costs out{.first_us = costs.front()};
    for (std::size_t i = 1; i < costs.size(); ++i) out.mean_us += costs[i] / static_cast<double>(costs.size() - 1);
    std::sort(costs.begin() + 1, costs.end());
    out.median_us = costs[costs.size() / 2];
    return out;
}

// `frames` calls deep; the volatile keeps the compiler from making a loop of it.
template <class BadFree>
[[gnu::noinline]] Costs measure_below(long frames, long times, BadFree bad_free) {
    if (frames <= 0) return measure(times, bad_free);
    const Costs costs = measure_below(frames - 1, times, bad_free);
    volatile double after_the_call = costs.first_us;
    return {after_the_call, costs.median_us, costs.mean_us};
}

void show(const char *what, const Costs &costs) {
    std::printf("%-34s first %8.1f us, then %6.2f us (median), %6.2f us (mean)\n", what, costs.first_us,
                costs.median_us, costs.mean_us);
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Cost of a bad free. To be run under libhakmem-diag.so.",
                               "[TIMES [FRAMES]]");
    const long times = arguments.number(20'000, 2, 10'000'000), frames = arguments.number(32, 0, 60);
    arguments.done();
    static char static_data[64];
    char *const freed = bench::fresh(100), *const live = bench::fresh(100);
    char *const large = bench::fresh(100'000);
    std::free(freed);
    std::free(large);
    show("double free", measure_below(frames, times, [=] { std::free(bench::checked(freed)); }));
    show("double free of a large block", measure_below(frames, times, [=] { std::free(bench::checked(large)); }));
    show("interior pointer", measure_below(frames, times, [=] { std::free(bench::checked(live + 16)); }));
    show("pointer to static data", measure_below(frames, times, [] { std::free(bench::checked(static_data + 16)); }));
    show("overwritten header, repaired", measure_below(frames, times, [] {
             char *const block = bench::fresh(48);
             *static_cast<volatile char *>(block - 1) = 0;
             std::free(bench::checked(block));
         }));
}
