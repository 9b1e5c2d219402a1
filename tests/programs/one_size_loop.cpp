// Never leaves the fast path: one size, allocated and freed again and again, a little slower than it could.
#include <time.h>

#include <cstdio>
#include <cstdlib>

int main() {
    std::printf("running\n");
    std::fflush(stdout);
    for (;;) {
        for (int i = 0; i < 20; ++i) {
            void *block = std::malloc(40);
            asm volatile("" : "+r"(block));
            std::free(block);
        }
        const timespec nap{0, 1'000'000};
        nanosleep(&nap, nullptr);
    }
}
