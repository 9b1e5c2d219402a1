// overwrite_headers SEED ROUNDS: overwrites the headers of random live blocks with random bytes, frees and allocates
// others around them, in this thread and in another, and frees the damaged ones last. Prints how many it damaged, and
// how many incidents the library has counted. Other blocks' contents must stand; what becomes of a damaged block is the
// allocator's business.
#include <hakmem.h>
#include <malloc.h>

#include <thread>
#include <vector>

#include "../lifecycle/workload.h"

namespace {

using lifecycle::Block;
using lifecycle::check;

enum class Header { one_byte, sixteen_bytes };

struct Victim {
    unsigned char *memory;
};

Block make(lifecycle::Random &random, Header &header) {
    const std::uint64_t kind = random.below(10);
    header = kind < 8 ? Header::one_byte : Header::sixteen_bytes;
    const std::size_t bytes = kind < 6   ? 9 + random.below(500)
                              : kind < 8 ? 9 + random.below(8000)
                                         : 9000 + random.below(2000000);
    auto *memory = static_cast<unsigned char *>(kind == 5 ? aligned_alloc(64, bytes) : malloc(bytes));
    check(memory != nullptr, "no memory");
    Block block{memory, bytes};
    block.mark();
    return block;
}

// Something else than what is there, and than its twin: 0xA0 and 0xC0 both say of a block that it is in use.
unsigned char other_than(unsigned char old, lifecycle::Random &random) {
    for (;;) {
        const auto value = static_cast<unsigned char>(random.below(256));
        if (value != old && (value ^ old) != 0x60) return value;
    }
}

void damage(unsigned char *block, Header header, lifecycle::Random &random) {
    // The block lies in memory that is ours to write to before it, as every block but a mapping's first does.
    volatile unsigned char *before = block;
    const std::size_t far = header == Header::one_byte ? 1 : 1 + random.below(16);
    before[-static_cast<std::ptrdiff_t>(far)] = other_than(before[-static_cast<std::ptrdiff_t>(far)], random);
}

unsigned round(lifecycle::Random &random) {
    std::vector<Block> blocks;
    std::vector<Victim> victims;
    for (int i = 0; i < 300; ++i) {
        Header header;
        const Block block = make(random, header);
        if (random.below(50) == 0) {
            victims.push_back({block.memory});
            damage(block.memory, header, random);
        } else {
            blocks.push_back(block);
        }
    }
    const auto churn = [&](std::size_t begin, std::size_t end, std::uint64_t seed) {
        lifecycle::Random own(seed);
        for (std::size_t i = begin; i < end; ++i) {
            blocks[i].look();
            free(blocks[i].memory);
            blocks[i].memory = nullptr;
            if (own.below(2) == 0) {
                Header header;
                blocks[i] = make(own, header);
            }
        }
        for (std::size_t i = begin; i < end; ++i) {
            if (blocks[i].memory == nullptr) continue;
            blocks[i].look();
            free(blocks[i].memory);
        }
    };
    const std::uint64_t seed = random.below(1u << 30);
    std::thread other(churn, blocks.size() / 2, blocks.size(), seed);
    churn(0, blocks.size() / 2, seed + 1);
    other.join();
    for (const Victim &victim : victims) free(victim.memory);
    malloc_trim(0);
    lifecycle::work(seed, 500);
    return static_cast<unsigned>(victims.size());
}

}  // namespace

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    lifecycle::Random random(strtoull(argv[1], nullptr, 10));
    unsigned damaged = 0;
    for (int rounds = atoi(argv[2]); rounds > 0; --rounds) damaged += round(random);
    hakmem_counters counters{};
    hakmem_read_counters(&counters);
    printf("%u %u\n", damaged, static_cast<unsigned>(counters.incidents));
    return 0;
}
