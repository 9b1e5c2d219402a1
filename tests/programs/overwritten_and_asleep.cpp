// Overwrites the header behind a block and never frees its neighbour: then sleeps, or goes on to `allocate`, or exits.
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

int main(int argc, char **argv) {
    const char *then = argc > 1 ? argv[1] : "sleep";
    char *blocks[100];
    for (char *&block : blocks) block = static_cast<char *>(std::malloc(40));
    char *left = blocks[50];
    std::memset(left, 'x', malloc_usable_size(left));
    *static_cast<volatile char *>(left + malloc_usable_size(left)) = 0;
    std::printf("running\n");
    std::fflush(stdout);
    if (std::strcmp(then, "exit") == 0) return 0;
    for (;;) {
        usleep(std::strcmp(then, "allocate") == 0 ? 1000 : 100'000'000);
        std::free(std::malloc(100));
    }
}
