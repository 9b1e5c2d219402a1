// api_races POLICY SECONDS FOLDER [SEED]: random calls in several threads at once (api_model.h) for a while, compiled
// with ThreadSanitizer. POLICY is `production`, `levels` (they change at random), one
// level, `notes`: those that one thread makes, looked up by another, or `racy`: a race on purpose.
#include <chrono>
#include <cstring>
#include <random>

#include "../fuzz/diagnostic_calls.h"
#include "core/notes.h"
#include "core/page_heap.h"
#include "malloc/production_probe.h"

namespace hakmem {

// production.cpp's says it on stderr.
void ProductionProbe::bad_free(ThreadState &, const Finding &) { test::require(false, "a bad free in production"); }

}  // namespace hakmem

// ThreadSanitizer gives a thread up in the last round of destructors of its keys, in which the unwinder's may come, and
// the allocator's own where a thread was late to use it. So those of keys that were made after its own run here, before
// the thread ends.
namespace {

struct Key {
    pthread_key_t key;
    void (*destructor)(void *);
};
constinit Key keys[64];
constinit std::atomic<unsigned> key_count{0};
constinit bool after_sanitizer = false;

[[gnu::constructor(101)]] void sanitizer_is_there() { after_sanitizer = true; }

void run_destructors() {
    constexpr int kRounds = 4;
    for (int round = 0; round < kRounds; ++round) {
        for (unsigned i = 0; i < key_count; ++i) {
            void *value = pthread_getspecific(keys[i].key);
            if (value == nullptr) continue;
            pthread_setspecific(keys[i].key, nullptr);
            keys[i].destructor(value);
        }
    }
}

}  // namespace

extern "C" int __pthread_key_create(pthread_key_t *key, void (*destructor)(void *));
extern "C" __attribute__((no_sanitize("thread"))) int pthread_key_create(pthread_key_t *key,
                                                                         void (*destructor)(void *)) noexcept {
    if (!after_sanitizer || destructor == nullptr) return __pthread_key_create(key, destructor);
    const int result = __pthread_key_create(key, nullptr);
    if (result == 0) keys[key_count++] = {*key, destructor};
    return result;
}

namespace {

using namespace hakmem;

struct ThreadEnd {
    static void thread_ends() { run_destructors(); }
};

struct NoControl : ThreadEnd {
    static void control(std::uint8_t) {}
};

struct Levels : ThreadEnd {
    static void control(std::uint8_t how) { test::DiagnosticCalls::control(how); }
};

struct OneLevel : ThreadEnd {
    static void control(std::uint8_t how) { test::DiagnosticCalls::control(how | 224); }
};

// Rounds in which threads start and end.
template <class Model>
unsigned long run(double seconds, std::uint64_t seed) {
    constexpr std::size_t kBytes = 4 * 4000;
    std::mt19937_64 random(seed);
    unsigned long calls = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    do {
        std::vector<std::uint8_t> bytes(kBytes);
        for (std::uint8_t &byte : bytes) byte = static_cast<std::uint8_t>(random());
        // Of the calls that are no allocations, few: trimming takes every heap's lock.
        for (std::size_t i = 0; i < kBytes; i += 4)
            if (bytes[i] >= 250 && random() % 8 != 0) bytes[i] = 2;
        Model::run(bytes.data(), bytes.size(), Model::kMaxThreads);
        calls += kBytes / 4;
    } while (std::chrono::steady_clock::now() < end);
    return calls;
}

// A thread makes the first notes of a region. Nothing but the look-up itself tells the other that they are there.
unsigned long look_up() {
    Span *span = page_heap.allocate_small(size_classes::of_request(50));
    notes::are_many = true;
    std::atomic<bool> made{false};
    std::thread other([&] {
        note_of(span, 0, true)->words[0] = 1;
        made.store(true, std::memory_order_relaxed);
        ThreadEnd::thread_ends();
    });
    while (!made.load(std::memory_order_relaxed)) std::this_thread::yield();
    const BlockNote *beside = note_of(span, 1, false);
    test::require(beside != nullptr && beside->is_clear(), "the note of a slot beside");
    other.join();
    return 2;
}

// Two threads write to one block: the sanitizer must see this, in memory that it knows nothing of as a heap.
unsigned long race() {
    using Production = Allocator<ProductionProbe>;
    auto *block = static_cast<unsigned char *>(Production::allocate(20));
    std::thread other([&] {
        *block = 1;
        ThreadEnd::thread_ends();
    });
    *block = 2;
    other.join();
    Production::deallocate(block);
    return 1;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    const double seconds = strtod(argv[2], nullptr);
    const std::uint64_t seed = argc > 4 ? strtoull(argv[4], nullptr, 10) : std::random_device{}();
    printf("seed %llu\n", static_cast<unsigned long long>(seed));
    fflush(stdout);
    unsigned long calls = 0;
    if (strcmp(argv[1], "racy") == 0) {
        calls = race();
    } else if (strcmp(argv[1], "notes") == 0) {
        calls = look_up();
    } else if (strcmp(argv[1], "production") == 0) {
        calls = run<test::ApiModel<Allocator<ProductionProbe>, NoControl>>(seconds, seed);
    } else {
        const bool one = strcmp(argv[1], "levels") != 0;
        const std::string options = std::string("sample_bytes=2000:guard_sample=300:quarantine_bytes=4000000:level=") +
                                    (one ? argv[1] : "count");
        test::DiagnosticCalls::start(argv[3], options.c_str());
        if (one)
            calls = run<test::ApiModel<test::Diagnostic, OneLevel>>(seconds, seed);
        else
            calls = run<test::ApiModel<test::Diagnostic, Levels>>(seconds, seed);
        test::DiagnosticCalls::nothing_was_reported();
    }
    printf("%lu calls\n", calls);
    return 0;
}
