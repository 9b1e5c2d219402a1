// The loaded objects (program, libraries, vdso), so that a program counter can be told as a module and an offset.
// Appended to the segment when a backtrace first needs them, never changed there.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/relaxed.h"
#include "segment/layout.h"

namespace hakmem {

class ModuleMap {
  public:
    static constexpr std::uint32_t kMost = 512;

    // Forgets everything and writes to these records from now on. `used` is where the reader finds their number. Not
    // thread-safe: at start, and in a fork's child.
    void start(segment::ModuleRecord *records, std::uint32_t *used);

    // In a fork's child, where everything is loaded where it was: goes on with these records, which a copy of the
    // parent's was put into.
    void carry_over(segment::ModuleRecord *records, std::uint32_t *used);

    std::uint32_t count() const { return count_.load(std::memory_order_acquire); }

    // Learns what was loaded since the last time. Takes the loader's lock: call it inside backtrace::enter.
    void refresh();

    // Objects that had been loaded and unloaded by then.
    std::uint64_t loads() const { return adds_; }
    std::uint64_t unloads() const { return subs_; }

    // Index of the module that `address` lies in, or segment::kNoModule.
    std::uint16_t find(std::uintptr_t address) const;

    // A number that says the same place in the same module in every run.
    std::uint64_t identify(std::uint16_t module, std::uintptr_t address) const;

  private:
    // What the segment says, kept where nobody else can write.
    struct Module {
        std::uintptr_t begin;
        std::uintptr_t end;  // begin: superseded
        std::uintptr_t bias;
        std::uint64_t identity;
    };

    struct Refresh;
    static int see_object(void *info, std::size_t size, void *refresh);
    void add(const void *info, bool is_program);

    Module modules_[kMost] = {};
    std::atomic<std::uint32_t> count_{0};
    // The loader's counters at the last refresh; written under its lock.
    Relaxed<std::uint64_t> adds_{}, subs_{};
    segment::ModuleRecord *records_ = nullptr;
    std::uint32_t *used_ = nullptr;
};

}  // namespace hakmem
