// What rare events cost under the allocator that is preloaded: starting a program, forking a child, and (only where the
// allocator survives it) freeing a block twice from 32 frames deep. Prints a line each, medians.
//
// events [bad_free] [ROUNDS]
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern char **environ;

namespace {

double now_us() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <class Event>
std::vector<double> measure(unsigned rounds, Event event) {
    std::vector<double> times(rounds);
    for (double &time : times) {
        const double start = now_us();
        event();
        time = now_us() - start;
    }
    return times;
}

double median(std::vector<double> times) {
    std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
    return times[times.size() / 2];
}

void start_a_program() {
    char name[] = "/bin/true";
    char *arguments[] = {name, nullptr};
    pid_t child = 0;
    if (posix_spawn(&child, name, nullptr, nullptr, arguments, environ) == 0) waitpid(child, nullptr, 0);
}

void fork_a_child() {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
}

// The compiler must see neither that these are the same block nor that the frames could be merged.
__attribute__((noinline)) void free_at_depth(void *block, unsigned frames) {
    if (frames > 0) {
        free_at_depth(block, frames - 1);
    } else {
        std::free(block);
    }
    asm volatile("" ::: "memory");
}

}  // namespace

int main(int argc, char **argv) {
    int next = 1;
    const bool bad_free = next < argc && std::strcmp(argv[next], "bad_free") == 0;
    if (bad_free) ++next;
    const unsigned rounds = next < argc ? static_cast<unsigned>(std::strtoul(argv[next], nullptr, 10)) : 1000;
    if (rounds == 0) return std::fprintf(stderr, "usage: events [bad_free] [ROUNDS]\n"), 2;

    std::printf("start a program: %.1f us\n", median(measure(rounds, start_a_program)));
    std::printf("fork a child: %.1f us\n", median(measure(rounds, fork_a_child)));
    if (bad_free) {
        constexpr unsigned kFrames = 32;
        void *block = std::malloc(64);
        void *volatile again = block;
        std::free(block);
        const std::vector<double> times = measure(rounds, [&] { free_at_depth(again, kFrames); });
        std::printf("bad free, the first: %.1f us\n", times[0]);
        std::printf("bad free, each after it: %.2f us\n", median({times.begin() + 1, times.end()}));
    }
}
