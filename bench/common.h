// What every benchmark program shares: arguments with a usage text, a fixed random generator, the clock, and the one
// line of results. The programs call plain malloc and free, so that any allocator can be preloaded.
#pragma once

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace bench {

// xorshift64*: the same sequence everywhere.
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15 + 0x1234567) {}
    std::uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1D;
    }
    // 0 to bound - 1.
    std::uint64_t below(std::uint64_t bound) { return (next() >> 32) * bound >> 32; }
    // Sizes as programs ask for them: many small, few large; low to high inclusive, log-uniform.
    std::size_t log_uniform(std::size_t low, std::size_t high) {
        std::size_t top = low;
        while (top * 2 <= high && (next() >> 40) % 3 != 0) top *= 2;
        const std::size_t limit = top * 2 <= high ? top * 2 : high;
        return top + below(limit - top + 1);
    }

  private:
    std::uint64_t state_;
};

inline double seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of this program alone: getrusage's figure starts with what the parent had before exec.
inline long peak_rss_kib() {
    std::FILE *file = std::fopen("/proc/self/status", "re");
    long peak = 0;
    char line[256];
    while (file != nullptr && peak == 0 && std::fgets(line, sizeof line, file) != nullptr) {
        if (std::strncmp(line, "VmHWM:", 6) == 0) peak = std::strtol(line + 6, nullptr, 10);
    }
    if (file != nullptr) std::fclose(file);
    return peak;
}

// RSS now, from /proc, without stdio's buffer of its own.
inline long rss_kib() {
    char text[128] = {};
    std::FILE *file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr) return 0;
    const bool read = std::fgets(text, sizeof text, file) != nullptr;
    std::fclose(file);
    char *end = text;
    if (!read) return 0;
    std::strtol(text, &end, 10);
    return std::strtol(end, nullptr, 10) * 4;
}

inline void report(const char *name, double operations, double elapsed) {
    std::printf("%s: %.0f operations a second, peak RSS %ld KiB\n", name, operations / elapsed, peak_rss_kib());
}

// Takes every block as malloc gives it: stops the program when memory is short, and keeps the compiler from knowing
// what becomes of the block.
inline void *checked(void *block) {
    if (block == nullptr) {
        std::fprintf(stderr, "out of memory\n");
        std::exit(1);
    }
    asm volatile("" : "+r"(block) : : "memory");
    return block;
}

// Touches both ends, as a program would.
inline char *fresh(std::size_t bytes) {
    char *block = static_cast<char *>(checked(std::malloc(bytes)));
    if (bytes != 0) {
        block[0] = 1;
        block[bytes - 1] = 1;
    }
    return block;
}

// Positional whole numbers with defaults. `names` is what the usage line shows.
class Arguments {
  public:
    Arguments(int argc, char **argv, const char *what, const char *names)
        : argc_(argc), argv_(argv), what_(what), names_(names) {
        for (int i = 1; i < argc; ++i)
            if (std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0) usage(stdout, 0);
    }
    long number(long fallback, long low, long high) {
        ++used_;
        if (used_ >= argc_) return fallback;
        char *end = nullptr;
        const long value = std::strtol(argv_[used_], &end, 10);
        if (end == argv_[used_] || *end != '\0' || value < low || value > high) {
            std::fprintf(stderr, "%s: '%s' is no number from %ld to %ld\n", argv_[0], argv_[used_], low, high);
            usage(stderr, 2);
        }
        return value;
    }
    void done() const {
        if (used_ + 1 < argc_) {
            std::fprintf(stderr, "%s: too many arguments\n", argv_[0]);
            usage(stderr, 2);
        }
    }

  private:
    [[noreturn]] void usage(std::FILE *to, int status) const {
        std::fprintf(to, "usage: %s %s\n%s\n", argv_[0], names_, what_);
        std::exit(status);
    }
    int argc_;
    char **argv_;
    const char *what_;
    const char *names_;
    int used_ = 0;
};

}  // namespace bench
