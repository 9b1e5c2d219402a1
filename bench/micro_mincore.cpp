// What it costs to ask whether a block's header may be read: mincore on every free, the alignment check, the hybrid
// check as the allocator does it (alignment, then the page map, mincore only for pages that the map does not know), and
// the hybrid check on page-aligned pointers that nobody knows. TSC cycles a call on x86-64, ticks of the virtual
// counter on aarch64.
#include <sys/mman.h>

#include <algorithm>
#include <vector>

#include "common.h"
#include "core/page_map.h"

namespace {

using hakmem::kUnitBytes;
using hakmem::page_map;

std::uint64_t ticks() {
#if defined(__x86_64__)
    unsigned low, high;
    asm volatile("lfence\n\trdtsc" : "=a"(low), "=d"(high));
    return static_cast<std::uint64_t>(high) << 32 | low;
#elif defined(__aarch64__)
    std::uint64_t value;
    asm volatile("isb\n\tmrs %0, cntvct_el0" : "=r"(value));
    return value;
#else
    return static_cast<std::uint64_t>(bench::seconds() * 1e9);
#endif
}

constexpr std::uintptr_t kPage = 4096;

bool mapped(std::uintptr_t address) {
    unsigned char resident;
    return mincore(reinterpret_cast<void *>(address & ~(kPage - 1)), kPage, &resident) == 0;
}

bool aligned_check(std::uintptr_t address) { return (address & (kPage - 1)) != 0; }

bool hybrid_check(std::uintptr_t address) {
    if ((address & (kPage - 1)) != 0) [[likely]]
        return true;
    return page_map.find(address - 1).ours() || mapped(address - 1);
}

// As if this program's own allocator had made the unit around the pointer.
bool make_known(std::uintptr_t pointer) {
    const std::uintptr_t unit = pointer & ~(kUnitBytes - 1);
    if (!page_map.reserve(unit, 1)) return false;
    page_map.set(unit, 1, hakmem::PageMap::Entry::kFreeUnit);
    return true;
}

template <class Check>
double cycles_a_call(const std::vector<std::uintptr_t> &pointers, long calls, Check check) {
    double best = 1e300;
    for (int repeat = 0; repeat < 5; ++repeat) {
        std::size_t next = 0;
        unsigned readable = 0;
        const std::uint64_t start = ticks();
        for (long i = 0; i < calls; ++i) {
            readable += check(pointers[next]);
            next = next + 1 == pointers.size() ? 0 : next + 1;
        }
        const std::uint64_t elapsed = ticks() - start;
        asm volatile("" : : "r"(readable));
        best = std::min(best, static_cast<double>(elapsed) / static_cast<double>(calls));
    }
    return best;
}

}  // namespace

int main(int argc, char **argv) {
    bench::Arguments arguments(argc, argv, "Costs of the readable-header checks, cycles a call.", "[CALLS]");
    const long calls = arguments.number(2'000'000, 1000, 1L << 40);
    arguments.done();

    // Pointers as a program would free them.
    bench::Random random(1);
    std::vector<std::uintptr_t> pointers;
    for (int i = 0; i < 4096; ++i)
        pointers.push_back(reinterpret_cast<std::uintptr_t>(bench::fresh(random.log_uniform(16, 2048))));
    for (const std::uintptr_t pointer : pointers) {
        if (!make_known(pointer)) {
            std::fprintf(stderr, "out of memory\n");
            return 1;
        }
    }
    char *pages =
        static_cast<char *>(mmap(nullptr, 65 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (pages == MAP_FAILED) {
        std::perror("mmap");
        return 1;
    }
    std::memset(pages, 1, 65 * kPage);
    std::vector<std::uintptr_t> boundary;
    for (std::uintptr_t i = 1; i <= 64; ++i) boundary.push_back(reinterpret_cast<std::uintptr_t>(pages) + i * kPage);

    // The loop itself is in every figure, as the cheap checks alone are below what can be told from noise.
    const double with_mincore = cycles_a_call(pointers, calls / 50, mapped);
    const double alignment = cycles_a_call(pointers, calls, [](std::uintptr_t address) {
        asm volatile("" : "+r"(address));
        return aligned_check(address);
    });
    const double hybrid = cycles_a_call(pointers, calls, [](std::uintptr_t address) {
        asm volatile("" : "+r"(address));
        return hybrid_check(address);
    });
    const double at_boundary = cycles_a_call(boundary, calls / 50, hybrid_check);
    std::printf("[MINCORE] mapped memory: %.1f cycles a call\n", with_mincore);
    std::printf("[ALIGN] alignment check: %.2f cycles a call\n", alignment);
    std::printf("[HYBRID] align + mincore: %.2f cycles a call\n", hybrid);
    std::printf("[BOUNDARY] page boundary: %.1f cycles a call\n", at_boundary);
    std::printf("mincore on every free costs %.0f times the hybrid check\n", with_mincore / hybrid);
    for (const std::uintptr_t pointer : pointers) std::free(reinterpret_cast<void *>(pointer));
    munmap(pages, 65 * kPage);
}
