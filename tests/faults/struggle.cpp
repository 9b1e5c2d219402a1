// A program that takes every nullptr for an answer and checks what it has: blocks of all kinds, threads, a child, a
// free of something that is no block. Ends with 0 and `ok`, however much failed.
#include <malloc.h>
#include <sys/wait.h>
#include <unistd.h>

#include <initializer_list>

#include "../lifecycle/workload.h"

namespace {

using lifecycle::check;
using lifecycle::work;

void *in_thread(void *seed) {
    work(reinterpret_cast<std::uintptr_t>(seed), 400, true);
    return nullptr;
}

// The way of blocks that get pages of their own, grow in place, move and are cut down.
void large_blocks() {
    for (const std::size_t start :
         {std::size_t{9000}, std::size_t{300000}, std::size_t{5} << 20, std::size_t{80} << 20}) {
        lifecycle::Block block{static_cast<unsigned char *>(malloc(start)), start};
        if (block.memory == nullptr) continue;
        block.mark();
        for (const std::size_t part : {std::size_t{20}, std::size_t{35}, std::size_t{7}, std::size_t{11}}) {
            void *memory = realloc(block.memory, start * part / 10);
            if (memory == nullptr) {
                block.look();
                continue;
            }
            const std::size_t told = block.bytes;
            block.memory = static_cast<unsigned char *>(memory);
            check(memcmp(memory, &told, sizeof told) == 0, "a moved block has changed");
            block.bytes = start * part / 10;
            block.mark();
        }
        free(block.memory);
    }
}

}  // namespace

int main() {
    work(1, 2000, true);
    large_blocks();
    pthread_t threads[4];
    bool runs[4];
    for (std::uintptr_t i = 0; i < 4; ++i)
        runs[i] = pthread_create(&threads[i], nullptr, in_thread, reinterpret_cast<void *>(i)) == 0;
    static char area[64];
    char *no_block = area + 16;
    asm volatile("" : "+r"(no_block));
    free(no_block);
    for (unsigned i = 0; i < 4; ++i)
        if (runs[i]) pthread_join(threads[i], nullptr);
    const pid_t child = fork();
    if (child == 0) {
        work(7, 300, true);
        _exit(0);
    }
    int status = 1;
    check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "the child has failed");
    malloc_trim(0);
    work(2, 2000, true);
    check(write(STDOUT_FILENO, "ok\n", 3) == 3, "write");
    return 0;
}
