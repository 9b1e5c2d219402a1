// overflow_odds: writes one byte past the end of a block, for every value of the byte and some sizes, each in a process
// of its own; then frees the block and its neighbour and looks whether the library has said anything on stderr. Prints
// a line each: size, value, and `free` where it was seen when the two were freed, `later` where it was seen when the
// thread's cache was emptied, `missed`, or `same` where the byte had that value before. `odds` makes a table of it.
#include <malloc.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

namespace {

enum Result { kMissed, kAtFree, kLater, kSame, kFailed };
constexpr const char *kNames[] = {"missed", "free", "later", "same", "failed"};

// Two live blocks of which the second lies right behind the first: neighbours by address, as one slot follows another.
bool neighbours(std::size_t size, volatile unsigned char *&first, volatile unsigned char *&second) {
    constexpr int kBlocks = 64;
    static unsigned char *blocks[kBlocks];
    for (auto &block : blocks) block = static_cast<unsigned char *>(malloc(size));
    std::ptrdiff_t nearest = 1 << 20;
    for (auto *one : blocks) {
        for (auto *other : blocks) {
            if (other <= one || other - one >= nearest) continue;
            nearest = other - one;
            first = one;
            second = other;
        }
    }
    return nearest < 1 << 20;
}

Result attempt(std::size_t size, unsigned value) {
    const int said = memfd_create("stderr", 0);
    if (said < 0 || dup2(said, STDERR_FILENO) < 0) return kFailed;
    const auto anything = [&] { return lseek(said, 0, SEEK_END) > 0; };
    // As in a program that has run for a while: the thread has had blocks of every class.
    for (std::size_t bytes = 1; bytes < 9000; bytes += 16) {
        void *volatile block = malloc(bytes);
        free(block);
    }
    volatile unsigned char *first = nullptr, *second = nullptr;
    if (!neighbours(size, first, second)) return kFailed;
    volatile unsigned char &past = first[malloc_usable_size(const_cast<unsigned char *>(first))];
    if (past == value) return kSame;
    past = static_cast<unsigned char>(value);
    free(const_cast<unsigned char *>(second));
    free(const_cast<unsigned char *>(first));
    if (anything()) return kAtFree;
    malloc_trim(0);
    return anything() ? kLater : kMissed;
}

}  // namespace

int main() {
    for (const std::size_t size : {24, 100, 1000, 5000}) {
        for (unsigned value = 0; value < 256; ++value) {
            const pid_t child = fork();
            if (child == 0) _exit(attempt(size, value));
            int status = 0;
            waitpid(child, &status, 0);
            const int result = WIFEXITED(status) && WEXITSTATUS(status) <= kFailed ? WEXITSTATUS(status) : kFailed;
            printf("%zu %u %s\n", size, value, kNames[result]);
        }
    }
    return 0;
}
