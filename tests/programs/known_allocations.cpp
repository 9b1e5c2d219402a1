// Allocates known amounts from three functions, says so, and sleeps: what the heap profile is compared with.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

void *kept[200'000];
int count = 0;

[[gnu::noinline]] void keep_small() {  // 40 MiB
    for (int i = 0; i < 40 * 1024; ++i) kept[count++] = std::malloc(1000);
    asm volatile("");
}

[[gnu::noinline]] void keep_large() {  // 60 MiB
    for (int i = 0; i < 600; ++i) kept[count++] = std::malloc(100 << 10);
    asm volatile("");
}

[[gnu::noinline]] void let_go() {  // 30 MiB in all, none of it live
    for (int i = 0; i < 300 * 1024; ++i) {
        void *block = std::malloc(100);
        asm volatile("" : "+r"(block));
        std::free(block);
    }
}

}  // namespace

int main() {
    keep_small();
    keep_large();
    let_go();
    std::printf("running\n");
    std::fflush(stdout);
    sleep(600);
}
