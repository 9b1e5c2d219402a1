// Replays a recorded trace (bench/record_traces) through malloc and free: all threads' events in their order, on one
// thread, each block touched at its ends and on every page. Repeats it until half a second is over.
#include <malloc.h>

#include <unordered_map>
#include <vector>

#include "common.h"
#include "trace.h"

namespace {

// An event with the trace's addresses made into places of a table.
struct Step {
    bench::Op op;
    std::uint32_t alignment;
    std::uint64_t bytes;
    std::uint32_t place;
    std::uint32_t before;
};
constexpr std::uint32_t kNowhere = UINT32_MAX;

class Script {
  public:
    explicit Script(const char *path) {
        std::FILE *file = std::fopen(path, "rb");
        if (file == nullptr) {
            std::perror(path);
            std::exit(1);
        }
        bench::Event event;
        while (std::fread(&event, sizeof event, 1, file) == 1 && event.op != bench::Op::none) add(event);
        std::fclose(file);
        if (steps_.empty()) {
            std::fprintf(stderr, "%s: no trace\n", path);
            std::exit(1);
        }
        known_ = {};
    }

    double play() {
        std::vector<char *> blocks(places_, nullptr);
        for (const Step &step : steps_) {
            switch (step.op) {
                case bench::Op::allocate:
                    blocks[step.place] = touched(std::malloc(step.bytes), step.bytes);
                    break;
                case bench::Op::allocate_zeroed:
                    blocks[step.place] = touched(std::calloc(1, step.bytes), step.bytes);
                    break;
                case bench::Op::allocate_aligned:
                    blocks[step.place] = touched(memalign(step.alignment, step.bytes), step.bytes);
                    break;
                case bench::Op::resize: {
                    char *before = step.before == kNowhere ? nullptr : blocks[step.before];
                    if (step.before != kNowhere) blocks[step.before] = nullptr;
                    blocks[step.place] = touched(std::realloc(before, step.bytes), step.bytes);
                    break;
                }
                default:
                    std::free(blocks[step.place]);
                    blocks[step.place] = nullptr;
            }
        }
        for (char *block : blocks) std::free(block);
        return static_cast<double>(steps_.size());
    }

  private:
    static char *touched(void *memory, std::uint64_t bytes) {
        char *block = static_cast<char *>(bench::checked(memory));
        for (std::uint64_t at = 0; at < bytes; at += 4096) block[at] = 1;
        if (bytes != 0) block[bytes - 1] = 1;
        return block;
    }

    std::uint32_t place_for(std::uint64_t address) {
        std::uint32_t place = static_cast<std::uint32_t>(places_);
        if (!unused_.empty()) {
            place = unused_.back();
            unused_.pop_back();
        } else {
            ++places_;
        }
        known_[address] = place;
        return place;
    }

    // kNowhere for what was allocated before the recording, or is in another thread's event that is still to come.
    std::uint32_t forget(std::uint64_t address) {
        const auto found = known_.find(address);
        if (found == known_.end()) return kNowhere;
        const std::uint32_t place = found->second;
        known_.erase(found);
        unused_.push_back(place);
        return place;
    }

    void add(const bench::Event &event) {
        Step step{event.op, event.alignment, event.bytes, kNowhere, kNowhere};
        if (event.op == bench::Op::release) {
            step.place = forget(event.block);
            if (step.place == kNowhere) return;
        } else {
            if (event.block == 0 || known_.contains(event.block)) {
                if (event.block == 0 || event.op != bench::Op::resize || event.block != event.before) return;
            }
            if (event.op == bench::Op::resize && event.before != 0) step.before = forget(event.before);
            step.place = place_for(event.block);
        }
        steps_.push_back(step);
    }

    std::vector<Step> steps_;
    std::unordered_map<std::uint64_t, std::uint32_t> known_;
    std::vector<std::uint32_t> unused_;
    std::size_t places_ = 0;
};

}  // namespace

int main(int argc, char **argv) {
    if (argc != 2 || argv[1][0] == '-') {
        std::fprintf(argc == 2 ? stdout : stderr, "usage: %s TRACE\n", argv[0]);
        return argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0) ? 0 : 2;
    }
    Script script(argv[1]);
    const double start = bench::seconds();
    double operations = 0;
    do {
        operations += script.play();
    } while (bench::seconds() - start < 0.5);
    bench::report("replay", operations, bench::seconds() - start);
}
