#include "diag/regions.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "diag/process.h"
#include "diag/read_only_file.h"

namespace hakmem {
namespace {

// glibc puts a thread's descriptor, to which pthread_self points, at the upper end of the stack it allocates.
constexpr std::uintptr_t kDescriptorBytes = 4096;
// For stacks that nobody told us about (coroutines): as far up from the stack pointer as one may plausibly reach.
constexpr std::uintptr_t kUnknownStackBytes = 1 << 20;

__attribute__((noinline)) std::uintptr_t stack_pointer() {
    return reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
}

// Reads numbers from /proc/self/maps, which has one mapping a line, in order of addresses.
class MapsReader {
  public:
    bool next(Mapping &mapping) {
        if (!hex(mapping.begin) || !hex(mapping.end)) return false;
        int c = 0;
        while ((c = get()) != '\n' && c >= 0) {
        }
        return true;
    }

  private:
    int get() {
        if (at_ == size_) {
            size_ = file_.read(buffer_, sizeof buffer_);
            at_ = 0;
            if (size_ <= 0) return size_ = 0, -1;
        }
        return buffer_[at_++];
    }

    // A number and the character behind it.
    bool hex(std::uintptr_t &value) {
        value = 0;
        for (unsigned digits = 0;; ++digits) {
            const int c = get();
            if (c >= '0' && c <= '9') {
                value = value << 4 | static_cast<std::uintptr_t>(c - '0');
            } else if (c >= 'a' && c <= 'f') {
                value = value << 4 | static_cast<std::uintptr_t>(c - 'a' + 10);
            } else {
                return digits > 0 && c >= 0;
            }
        }
    }

    ReadOnlyFile file_{"/proc/self/maps"};
    ssize_t at_ = 0;
    ssize_t size_ = 0;
    char buffer_[1024];
};

bool is_in_alternate_stack(std::uintptr_t address) {
    stack_t stack{};
    if (sigaltstack(nullptr, &stack) != 0 || (stack.ss_flags & SS_DISABLE) != 0) return false;
    const auto begin = reinterpret_cast<std::uintptr_t>(stack.ss_sp);
    return address >= begin && address - begin < stack.ss_size;
}

}  // namespace

Mapping find_mapping(std::uintptr_t address) {
    MapsReader reader;
    Mapping mapping;
    while (reader.next(mapping) && mapping.begin <= address) {
        if (mapping.contains(address)) return mapping;
    }
    return {};
}

std::uintptr_t this_threads_descriptor() {
    return process::thread_id() != getpid() ? static_cast<std::uintptr_t>(pthread_self()) : 0;
}

RegionFacts gather_region(std::uintptr_t address, bool mapped, const ModuleMap &modules,
                          std::span<const std::atomic<std::uintptr_t>> descriptors) {
    RegionFacts facts;
    facts.mapped = mapped;
    if (!mapped) return facts;
    facts.in_module = modules.find(address) != segment::kNoModule;
    if (facts.in_module) return facts;

    const Mapping mapping = find_mapping(address);
    facts.in_stack =
        is_in_alternate_stack(address) || is_in_stack(address, mapping, {process::main_stack_end(), UINTPTR_MAX});
    for (const auto &descriptor : descriptors) {
        const std::uintptr_t inside = descriptor.load(std::memory_order_relaxed);
        if (facts.in_stack) break;
        facts.in_stack = inside != 0 && is_in_stack(address, mapping, {inside, inside + kDescriptorBytes});
    }
    // A stack that the program made for itself, if we run on it.
    const std::uintptr_t here = stack_pointer();
    if (!facts.in_stack && !mapping.contains(static_cast<std::uintptr_t>(pthread_self()))) {
        facts.in_stack = is_in_stack(address, mapping, {here, here + kUnknownStackBytes});
    }
    return facts;
}

}  // namespace hakmem
