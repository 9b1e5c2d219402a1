// One malloc and one free of a small block, again and again: what bench/instructions counts the instructions of.
#include "common.h"

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "malloc and free of one block, repeated.", "[PAIRS [SIZE]]");
    const long pairs = arguments.number(10'000'000, 0, 1L << 40);
    const long size = arguments.number(64, 0, 1L << 30);
    arguments.done();
    const double start = bench::seconds();
    for (long i = 0; i < pairs; ++i) std::free(bench::checked(std::malloc(static_cast<std::size_t>(size))));
    bench::report("pair", static_cast<double>(2 * pairs), bench::seconds() - start);
}
