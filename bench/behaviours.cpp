// The behaviours that real programs show an allocator, one a subcommand; `behaviours --help` lists them. Each prints
// operations a second and the peak RSS. Deterministic but for the scheduling of threads.
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <string_view>
#include <thread>
#include <vector>

#include "common.h"

namespace {

using bench::fresh;
using bench::Random;

// Runs f(thread index) on n threads and waits for them.
template <class F>
void on_threads(long n, F f) {
    std::vector<std::thread> threads;
    for (long t = 0; t < n; ++t) threads.emplace_back(f, t);
    for (std::thread &thread : threads) thread.join();
}

// A compiler's life: phases that build trees of small nodes, drop most of them, and keep some results till the end.
double mixed_lifetime(long scale) {
    struct Node {
        Node *left, *right;
        long value[1];
    };
    Random random(1);
    std::vector<void *> kept;
    double operations = 0;
    for (long phase = 0; phase < 12 * scale; ++phase) {
        std::vector<Node *> nodes;
        for (int i = 0; i < 150'000; ++i) {
            auto *node = reinterpret_cast<Node *>(fresh(sizeof(Node) + random.log_uniform(8, 256)));
            node->left = nodes.empty() ? nullptr : nodes[random.below(nodes.size())];
            node->right = nullptr;
            nodes.push_back(node);
            if (i % 4 == 3) {  // short-lived strings on the way
                char *text = fresh(random.log_uniform(16, 512));
                std::free(text);
                operations += 2;
            }
        }
        for (std::size_t i = 0; i < nodes.size(); ++i) {
            if (i % 64 == 0)
                kept.push_back(nodes[i]);
            else
                std::free(nodes[i]);
        }
        operations += 2.0 * static_cast<double>(nodes.size());
    }
    for (void *block : kept) std::free(block);
    return operations;
}

// Bounded queues of pointers between pairs of threads.
struct Queue {
    static constexpr std::size_t kRoom = 4096;
    std::atomic<char *> slots[kRoom] = {};
    void put(std::size_t i, char *block) {
        while (slots[i % kRoom].load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
        slots[i % kRoom].store(block, std::memory_order_release);
    }
    char *take(std::size_t i) {
        char *block;
        while ((block = slots[i % kRoom].load(std::memory_order_acquire)) == nullptr) std::this_thread::yield();
        slots[i % kRoom].store(nullptr, std::memory_order_release);
        return block;
    }
};

double producer_consumer(long scale) {
    const std::size_t blocks = 3'000'000 * static_cast<std::size_t>(scale);
    static Queue queue;
    std::thread consumer([&] {
        for (std::size_t i = 0; i < blocks; ++i) std::free(queue.take(i));
    });
    Random random(1);
    for (std::size_t i = 0; i < blocks; ++i) queue.put(i, fresh(random.log_uniform(16, 1024)));
    consumer.join();
    return 2.0 * static_cast<double>(blocks);
}

// Both ways: each thread frees what the other allocated.
double exchange(long scale) {
    const std::size_t blocks = 1'500'000 * static_cast<std::size_t>(scale);
    static Queue queues[2];
    on_threads(2, [&](long me) {
        Random random(static_cast<std::uint64_t>(me + 1));
        for (std::size_t i = 0; i < blocks; ++i) {
            queues[me].put(i, fresh(random.log_uniform(16, 1024)));
            if (i >= 64) std::free(queues[1 - me].take(i - 64));
        }
        for (std::size_t i = blocks - 64; i < blocks; ++i) std::free(queues[1 - me].take(i));
    });
    return 4.0 * static_cast<double>(blocks);
}

// Threads are born, allocate, free half, and die; their successor frees the rest.
double thread_churn(long scale) {
    const long threads = 3000 * scale;
    constexpr std::size_t kBlocks = 400;
    std::vector<char *> left;
    for (long t = 0; t < threads; ++t) {
        std::vector<char *> next(kBlocks);
        std::thread([&, t] {
            Random random(static_cast<std::uint64_t>(t + 1));
            for (char *&block : next) block = fresh(random.log_uniform(16, 2048));
            for (char *block : left) std::free(block);
            for (std::size_t i = 0; i < kBlocks; i += 2) {
                std::free(next[i]);
                next[i] = nullptr;
            }
        }).join();
        left = std::move(next);
    }
    for (char *block : left) std::free(block);
    return 2.0 * kBlocks * static_cast<double>(threads);
}

// Grow, free a scattered half, grow with other sizes: what matters is the RSS.
double fragmentation(long scale) {
    Random random(1);
    double operations = 0;
    std::vector<char *> blocks;
    for (int round = 0; round < 4; ++round) {
        const std::size_t low = round % 2 == 0 ? 16 : 100, high = round % 2 == 0 ? 400 : 3000;
        const std::size_t count = (round % 2 == 0 ? 500'000 : 60'000) * static_cast<std::size_t>(scale);
        for (std::size_t i = 0; i < count; ++i) blocks.push_back(fresh(low + random.below(high - low)));
        for (std::size_t i = blocks.size() - 1; i > 0; --i) std::swap(blocks[i], blocks[random.below(i + 1)]);
        for (std::size_t i = blocks.size() / 2; i < blocks.size(); ++i) std::free(blocks[i]);
        operations += static_cast<double>(count) + static_cast<double>(blocks.size()) / 2;
        blocks.resize(blocks.size() / 2);
    }
    std::printf("RSS with half of the blocks live: %ld KiB\n", bench::rss_kib());
    for (char *block : blocks) std::free(block);
    return operations;
}

// Active: does the allocator give two threads parts of one cache line? Each thread writes to its own block only.
double false_sharing(long scale, bool passive) {
    constexpr long kThreads = 2;
    const long rounds = 200 * scale;
    std::vector<char *> given(kThreads);
    if (passive)
        for (char *&block : given) block = fresh(8);
    on_threads(kThreads, [&](long me) {
        char *first = passive ? given[static_cast<std::size_t>(me)] : nullptr;
        for (long round = 0; round < rounds; ++round) {
            // Passive: one neighbouring block came from the main thread; once freed here it must not go on hurting.
            std::free(first);
            first = nullptr;
            char *block = fresh(8);
            for (int i = 0; i < 300'000; ++i) *static_cast<volatile char *>(block) = static_cast<char>(*block + 1);
            std::free(block);
        }
    });
    return static_cast<double>(kThreads * rounds);
}
double false_sharing_active(long scale) { return false_sharing(scale, false); }
double false_sharing_passive(long scale) { return false_sharing(scale, true); }

// 8 KiB to 4 MiB, replaced at random; a server's buffers. Every page is written.
double replace_large(std::size_t low, std::size_t high, std::size_t live, long steps) {
    Random random(1);
    std::vector<char *> blocks(live);
    for (long i = 0; i < steps; ++i) {
        char *&block = blocks[random.below(live)];
        std::free(block);
        const std::size_t bytes = random.log_uniform(low, high);
        block = fresh(bytes);
        for (std::size_t at = 0; at < bytes; at += 4096) block[at] = 1;
    }
    for (char *block : blocks) std::free(block);
    return static_cast<double>(steps);
}
double large_blocks(long scale) { return replace_large(8 << 10, 4 << 20, 200, 60'000 * scale); }
double very_large_blocks(long scale) { return replace_large(5 << 20, 25 << 20, 20, 600 * scale); }

// Buffers that grow: by doubling, and by a step.
double realloc_growth(long scale) {
    double operations = 0;
    Random random(1);
    for (long round = 0; round < 400 * scale; ++round) {
        for (std::size_t step : {std::size_t{0}, 256 + random.below(4096)}) {
            std::size_t bytes = 16;
            char *buffer = fresh(bytes);
            const std::size_t limit = step == 0 ? std::size_t{4} << 20 : std::size_t{1} << 20;
            while (bytes < limit) {
                const std::size_t more = step == 0 ? bytes * 2 : bytes + step;
                buffer = static_cast<char *>(bench::checked(std::realloc(buffer, more)));
                std::memset(buffer + bytes, 1, more - bytes);
                bytes = more;
                ++operations;
            }
            std::free(buffer);
        }
    }
    return operations;
}

double calloc_mix(long scale) {
    Random random(1);
    std::vector<char *> blocks(2000);
    const long steps = 1'500'000 * scale;
    for (long i = 0; i < steps; ++i) {
        char *&block = blocks[random.below(blocks.size())];
        std::free(block);
        const std::size_t bytes =
            random.below(200) == 0 ? random.log_uniform(8192, 1 << 20) : random.log_uniform(16, 4096);
        block = static_cast<char *>(bench::checked(std::calloc(1, bytes)));
        if (block[bytes / 2] != 0) {
            std::fprintf(stderr, "calloc returned memory that is not zero\n");
            std::exit(1);
        }
        block[0] = block[bytes / 2] = block[bytes - 1] = 1;
    }
    for (char *block : blocks) std::free(block);
    return 2.0 * static_cast<double>(steps);
}

double aligned_mix(long scale) {
    Random random(1);
    std::vector<void *> blocks(5000);
    const long steps = 3'000'000 * scale;
    for (long i = 0; i < steps; ++i) {
        void *&block = blocks[random.below(blocks.size())];
        std::free(block);
        const std::size_t alignment = std::size_t{32} << random.below(random.below(10) == 0 ? 8 : 2);
        if (posix_memalign(&block, alignment, random.log_uniform(16, 2048)) != 0) std::exit(1);
        *static_cast<char *>(block) = 1;
    }
    for (void *block : blocks) std::free(block);
    return 2.0 * static_cast<double>(steps);
}

// Two threads, each on its own: the plain multi-threaded case.
double local_threads(long scale) {
    const long steps = 6'000'000 * scale;
    on_threads(2, [&](long me) {
        Random random(static_cast<std::uint64_t>(me + 1));
        std::vector<char *> blocks(3000);
        for (long i = 0; i < steps; ++i) {
            char *&block = blocks[random.below(blocks.size())];
            std::free(block);
            block = fresh(random.log_uniform(16, 1024));
        }
        for (char *block : blocks) std::free(block);
    });
    return 4.0 * static_cast<double>(steps);
}

// A burst that is freed first in, first out, and one that is freed at random.
double bursts(long scale) {
    Random random(1);
    double operations = 0;
    for (long round = 0; round < 15 * scale; ++round) {
        std::vector<char *> blocks(200'000);
        for (char *&block : blocks) block = fresh(random.log_uniform(16, 512));
        if (round % 2 == 1)
            for (std::size_t i = blocks.size() - 1; i > 0; --i) std::swap(blocks[i], blocks[random.below(i + 1)]);
        for (char *block : blocks) std::free(block);
        operations += 2.0 * static_cast<double>(blocks.size());
    }
    return operations;
}

// A key-value server's data: strings and small nodes, overwritten with strings of other lengths.
double key_value(long scale) {
    Random random(1);
    struct Entry {
        char *node, *key, *value;
    };
    std::vector<Entry> table(200'000);
    const long steps = 2'000'000 * scale;
    for (long i = 0; i < steps; ++i) {
        Entry &entry = table[random.below(table.size())];
        if (entry.node == nullptr) {
            entry.node = fresh(56);
            entry.key = fresh(8 + random.below(40));
        } else {
            std::free(entry.value);
        }
        entry.value = fresh(random.log_uniform(8, 1024));
    }
    for (Entry &entry : table) {
        std::free(entry.node);
        std::free(entry.key);
        std::free(entry.value);
    }
    return 2.0 * static_cast<double>(steps);
}

struct Behaviour {
    std::string_view name;
    double (*run)(long scale);
    const char *what;
};

constexpr Behaviour kBehaviours[] = {
    {"mixed_lifetime", mixed_lifetime, "many small objects of mixed lifetime, as in a compiler without arenas"},
    {"producer_consumer", producer_consumer, "one thread allocates, another frees"},
    {"exchange", exchange, "two threads free what the other allocated"},
    {"thread_churn", thread_churn, "threads are born and die, leaving blocks behind"},
    {"fragmentation", fragmentation, "grow, free a scattered half, grow other sizes"},
    {"false_sharing_active", false_sharing_active, "two threads allocate and write small blocks"},
    {"false_sharing_passive", false_sharing_passive, "two threads free blocks of one line and allocate their own"},
    {"large_blocks", large_blocks, "blocks of 8 KiB to 4 MiB replaced at random, every page written"},
    {"very_large_blocks", very_large_blocks, "blocks of 5 to 25 MiB replaced at random, every page written"},
    {"realloc_growth", realloc_growth, "buffers that grow by doubling and by steps"},
    {"calloc_mix", calloc_mix, "zeroed blocks, mostly small"},
    {"aligned_mix", aligned_mix, "posix_memalign of 32 bytes to a page"},
    {"local_threads", local_threads, "two threads, each on its own"},
    {"bursts", bursts, "bursts freed in order and at random"},
    {"key_value", key_value, "a key-value server's strings and nodes"},
};

void usage(std::FILE *to, const char *program) {
    std::fprintf(to, "usage: %s BEHAVIOUR [SCALE]\nSCALE multiplies the work (default 1). Behaviours:\n", program);
    for (const Behaviour &behaviour : kBehaviours)
        std::fprintf(to, "  %-22.*s %s\n", static_cast<int>(behaviour.name.size()), behaviour.name.data(),
                     behaviour.what);
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 2 || std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0) {
        usage(argc < 2 ? stderr : stdout, argv[0]);
        return argc < 2 ? 2 : 0;
    }
    const long scale = argc > 2 ? std::strtol(argv[2], nullptr, 10) : 1;
    if (argc > 3 || scale < 1 || scale > 1000) {
        std::fprintf(stderr, "%s: SCALE is a number from 1 to 1000\n", argv[0]);
        return 2;
    }
    for (const Behaviour &behaviour : kBehaviours) {
        if (behaviour.name != argv[1]) continue;
        const double start = bench::seconds();
        const double operations = behaviour.run(scale);
        bench::report(argv[1], operations, bench::seconds() - start);
        return 0;
    }
    std::fprintf(stderr, "%s: no behaviour '%s'\n", argv[0], argv[1]);
    usage(stderr, argv[0]);
    return 2;
}
