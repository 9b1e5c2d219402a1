// Makes bad frees without end, and counts those that have returned where they survive a kill -9: in a shared mapping of
// the file that is its first argument, eight bytes a thread. For kill9_test.py.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

char in_data[64] = "static";

void *opaque(void *pointer) {
    asm volatile("" : "+r"(pointer));
    return pointer;
}

void free_interior() {
    char *block = static_cast<char *>(std::malloc(200));
    std::memset(block, 'i', 200);
    std::free(static_cast<char *>(opaque(block)) + 32);
    std::free(block);
}

void free_static() { std::free(opaque(in_data)); }

void free_stack() {
    char local[64];
    std::memset(local, 's', sizeof local);
    std::free(opaque(local));
}

void free_twice() {
    void *block = std::malloc(100);
    std::free(block);
    std::free(opaque(block));
}

void storm(std::atomic<std::uint64_t> &returned) {
    constexpr void (*kBadFrees[])() = {free_interior, free_static, free_stack, free_twice};
    for (std::uint64_t i = 0;; ++i) {
        kBadFrees[i % 4]();
        returned.store(i + 1, std::memory_order_release);
    }
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "use: %s COUNTER-FILE THREADS\n", argv[0]);
        return 2;
    }
    const std::size_t threads = std::strtoul(argv[2], nullptr, 10);
    const int file = open(argv[1], O_RDWR | O_CREAT, 0600);
    const std::size_t bytes = threads * sizeof(std::uint64_t);
    if (file < 0 || ftruncate(file, static_cast<off_t>(bytes)) != 0) return 1;
    void *mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) return 1;
    auto *counters = static_cast<std::atomic<std::uint64_t> *>(mapped);
    std::vector<std::thread> running;
    for (std::size_t i = 0; i < threads; ++i) running.emplace_back(storm, std::ref(counters[i]));
    for (std::thread &thread : running) thread.join();
}
