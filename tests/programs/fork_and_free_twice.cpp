// Allocates, forks, and the child frees the block twice: who allocated it was in the parent.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace {

[[gnu::noinline]] void *allocate_in_parent() {
    void *block = std::malloc(100);
    asm volatile("" : "+r"(block));
    return block;
}

}  // namespace

int main() {
    void *block = allocate_in_parent();
    std::printf("running\n");
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        std::free(block);
        asm volatile("" : "+r"(block));
        std::free(block);
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}
