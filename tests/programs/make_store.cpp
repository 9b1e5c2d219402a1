// Fills an incident store with made-up incidents, for tests of the API and of the page on many:
//
//   make_store FILE INCIDENTS FINGERPRINTS
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#include "made_incident.h"
#include "store/store.h"

int main(int argc, char **argv) {
    const unsigned incidents = argc == 4 ? static_cast<unsigned>(std::atoi(argv[2])) : 0;
    const unsigned fingerprints = argc == 4 ? static_cast<unsigned>(std::atoi(argv[3])) : 0;
    if (incidents == 0 || fingerprints == 0) {
        std::fprintf(stderr, "usage: make_store FILE INCIDENTS FINGERPRINTS\n");
        return 2;
    }
    try {
        hakmem::Store store(argv[1], hakmem::Store::Mode::create);
        const auto now_ns = static_cast<std::uint64_t>(
            std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
                .count());
        store.in_transaction([&] {
            for (unsigned number = 0; number < incidents; ++number)
                store.add(hakmem::made::make(number, fingerprints, now_ns));
        });
        store.checkpoint();
    } catch (const std::exception &error) {
        std::fprintf(stderr, "make_store: %s\n", error.what());
        return 1;
    }
}
