// A server with a rare bug: threads that handle requests, each with blocks from some of 40 allocation sites. One of the
// sites makes room for a name, and on one request in so many it forgets that of the terminator, which then hits the
// header behind the block.
//
//   overflow_server THREADS OVERFLOWS [MODE] [ONE_IN] [WORK]
//
// MODE: `brief` (the name is freed with its request), `kept` (it stays for some thousand requests), `handed` (another
// thread writes it), `long` (the name is 30 bytes too long), `few` (the first ten overflow, a hunt goes on for ever),
// `underflow` (the bug is another one and happens once: a hunt goes on for ever and finds nothing), `none`. WORK is
// what a request does beside allocating, in multiplications. Ends after so many overflows, or, in the last three modes,
// after so many thousand requests. Then it prints a line `overflow NANOSECONDS` for each, when it happened, and
// `requests N in NANOSECONDS`.
#include <pthread.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

namespace {

enum class Mode { brief, kept, handed, long_names, few, underflow, none };

constexpr unsigned kSites = 40;
constexpr unsigned kBlocksOfRequest = 8;
constexpr unsigned kSessions = 500;
constexpr unsigned kKeptNames = 2000;
constexpr std::uint64_t kFew = 10;
constexpr std::uint64_t kMostOverflows = 100'000;

Mode mode = Mode::brief;
std::uint64_t wanted = 0;
std::uint64_t one_in = 1000;
int work_of_request = 3000;
std::atomic<std::uint64_t> overflows{0};
std::atomic<std::uint64_t> requests{0};
std::atomic<bool> ended{false};
std::uint64_t times[kMostOverflows];

std::uint64_t now_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

struct Random {
    std::uint64_t state;
    std::uint64_t next() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state;
    }
};

template <unsigned Site>
[[gnu::noinline]] char *allocate_at_site(std::size_t extra) {
    auto *block = static_cast<char *>(std::malloc(16 + Site * 12 + extra));
    asm volatile("" : "+r"(block));  // a call of its own for each site
    return block;
}

using Allocate = char *(*)(std::size_t);
constexpr auto kAllocate = []<std::size_t... Site>(std::index_sequence<Site...>) {
    return std::array<Allocate, sizeof...(Site)>{allocate_at_site<Site>...};
}
(std::make_index_sequence<kSites - 1>());

// The fortieth.
[[gnu::noinline]] char *allocate_name(std::size_t bytes) {
    auto *name = static_cast<char *>(std::malloc(bytes));
    asm volatile("" : "+r"(name));
    return name;
}

[[gnu::noinline]] void copy_name(char *to, const char *name) {
    while (*name != '\0') *to++ = *name++;  // @write letters
    *to = '\0';                             // @write terminator
}

// Who writes the names in mode `handed`.
struct Handover {
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
    char *to = nullptr;
    const char *name = nullptr;
    bool over = false;

    void write(char *block, const char *text) {
        pthread_mutex_lock(&mutex);
        while (to != nullptr) pthread_cond_wait(&changed, &mutex);
        to = block;
        name = text;
        pthread_cond_broadcast(&changed);
        while (to == block) pthread_cond_wait(&changed, &mutex);
        pthread_mutex_unlock(&mutex);
    }
    void serve() {
        pthread_mutex_lock(&mutex);
        while (!over) {
            if (to == nullptr) {
                pthread_cond_wait(&changed, &mutex);
                continue;
            }
            copy_name(to, name);
            to = nullptr;
            pthread_cond_broadcast(&changed);
        }
        pthread_mutex_unlock(&mutex);
    }
    void end() {
        pthread_mutex_lock(&mutex);
        over = true;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&mutex);
    }
};
Handover handover;

class Worker {
  public:
    explicit Worker(unsigned number) : random_{0x9E3779B97F4A7C15 * (number + 1)} {}
    ~Worker() {
        for (char *block : sessions_) std::free(block);
        for (char *block : names_) std::free(block);
    }

    void run() {
        while (!ended.load(std::memory_order_relaxed)) handle();
    }

  private:
    void handle() {
        const std::uint64_t number = requests.fetch_add(1, std::memory_order_relaxed) + 1;
        const bool bug = mode != Mode::none && number % one_in == 0 && (mode != Mode::few || number <= kFew * one_in);
        char *blocks[kBlocksOfRequest];
        for (char *&block : blocks) {
            const std::uint64_t draw = random_.next();
            const unsigned site = static_cast<unsigned>(draw % (kSites - 1));
            block = kAllocate[site](draw >> 32 & 15);
            std::memset(block, static_cast<int>(draw), 16 + site * 12);
        }
        handle_name(bug);
        work();
        // One of them outlives its request.
        std::swap(blocks[0], sessions_[random_.next() % kSessions]);
        for (char *block : blocks) std::free(block);
        if ((mode == Mode::none || mode == Mode::underflow || mode == Mode::few) && number >= wanted * 1000)
            ended = true;
    }

    void handle_name(bool bug) {
        constexpr std::size_t kFull = 47;  // what a slot of 48 bytes holds
        constexpr std::size_t kLong = 100, kTooLong = 30;
        char text[kLong + 1];
        const bool too_short = bug && mode != Mode::underflow;
        const bool too_long = too_short && mode == Mode::long_names;
        const std::size_t letters = too_long ? kLong : too_short ? kFull : 32 + random_.next() % (kFull - 32);
        std::memset(text, 'n', letters);
        text[letters] = '\0';
        char *name = allocate_name(letters + 1 - (too_long ? kTooLong : too_short ? 1 : 0));
        if (mode == Mode::handed)
            handover.write(name, text);
        else
            copy_name(name, text);
        if (bug && mode == Mode::underflow && overflows.fetch_add(1) == 0) name[-1] = 0;
        if (too_short) {
            const std::uint64_t count = overflows.fetch_add(1);
            if (count < kMostOverflows) times[count] = now_ns(CLOCK_REALTIME);
            if (mode != Mode::few && count + 1 >= wanted) ended = true;
        }
        if (mode == Mode::kept) std::swap(name, names_[random_.next() % kKeptNames]);
        std::free(name);
    }

    // What a request does beside allocating.
    void work() {
        std::uint64_t sum = random_.next();
        for (int i = 0; i < work_of_request; ++i) sum = (sum ^ static_cast<std::uint64_t>(i)) * 0xBF58476D1CE4E5B9;
        asm volatile("" : : "r"(sum));
    }

    Random random_;
    char *sessions_[kSessions] = {};
    char *names_[kKeptNames] = {};
};

void *work_in_thread(void *number) {
    Worker(static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(number))).run();
    return nullptr;
}

void *write_in_thread(void *) {
    handover.serve();
    return nullptr;
}

}  // namespace

int main(int argc, char **argv) {
    const std::string name = argc > 3 ? argv[3] : "brief";
    constexpr std::pair<const char *, Mode> kModes[] = {
        {"brief", Mode::brief}, {"kept", Mode::kept},           {"handed", Mode::handed}, {"long", Mode::long_names},
        {"few", Mode::few},     {"underflow", Mode::underflow}, {"none", Mode::none}};
    bool known = false;
    for (const auto &[text, value] : kModes) {
        if (name != text) continue;
        mode = value;
        known = true;
    }
    const unsigned threads = argc > 1 ? static_cast<unsigned>(std::strtoul(argv[1], nullptr, 10)) : 0;
    wanted = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 0;
    if (argc > 4) one_in = std::strtoull(argv[4], nullptr, 10);
    if (argc > 5) work_of_request = std::atoi(argv[5]);
    if (!known || threads == 0 || threads > 64 || wanted == 0 || one_in == 0) {
        std::fprintf(
            stderr,
            "use: overflow_server THREADS OVERFLOWS [brief|kept|handed|long|few|underflow|none] [ONE_IN] [WORK]\n");
        return 2;
    }
    const std::uint64_t start = now_ns(CLOCK_MONOTONIC);
    pthread_t writer{};
    if (mode == Mode::handed) pthread_create(&writer, nullptr, write_in_thread, nullptr);
    pthread_t workers[64];
    for (unsigned i = 0; i < threads; ++i)
        pthread_create(&workers[i], nullptr, work_in_thread, reinterpret_cast<void *>(std::uintptr_t{i}));
    for (unsigned i = 0; i < threads; ++i) pthread_join(workers[i], nullptr);
    if (mode == Mode::handed) {
        handover.end();
        pthread_join(writer, nullptr);
    }
    const std::uint64_t took = now_ns(CLOCK_MONOTONIC) - start;
    const std::uint64_t seen = std::min(overflows.load(), kMostOverflows);
    if (mode != Mode::underflow && mode != Mode::none)
        for (std::uint64_t i = 0; i < seen; ++i)
            std::printf("overflow %llu\n", static_cast<unsigned long long>(times[i]));
    std::printf("requests %llu in %llu\n", static_cast<unsigned long long>(requests.load()),
                static_cast<unsigned long long>(took));
    return 0;
}
