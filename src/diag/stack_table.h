// The distinct stacks of watched blocks, in the segment, each with its share of the heap profile. Lock-free; a stack's
// number is its record's index and never changes. Once most of the table is used, of a new stack only the innermost
// frames count, so that a program that recurses has room left for who calls. Full: new stacks get number 0, which
// stands for "unknown".
#pragma once

#include <atomic>
#include <cstdint>

#include "diag/modules.h"
#include "diag/note.h"
#include "diag/segment_writer.h"
#include "segment/layout.h"

namespace hakmem {

class StackTable {
  public:
    // Starts empty on the segment's records. Not thread-safe: at start, and in a fork's child.
    void start(const Segment &segment);

    // In a fork's child, whose blocks' notes name the parent's stacks: goes on with this segment, into which a copy of
    // the parent's records was put. What was freed so far is history; what is live is the child's.
    void carry_over(const Segment &segment);

    std::uint32_t used() const { return used_.load(std::memory_order_acquire); }

    // The number of the stack of these return addresses, innermost first, and how many of them count. May take the
    // loader's lock.
    struct Known {
        StackId id;
        unsigned frames;
    };
    Known intern(const std::uintptr_t *pc, unsigned frames, ModuleMap &modules);
    static constexpr std::uint32_t kMostWhole = kStacks / 4 * 3;
    static constexpr unsigned kShortFrames = 8;

    // A sampled block of this stack that stands for `weight` others (sampling.h) of `bytes` each comes or goes.
    void count_allocated(StackId id, std::uint32_t weight, std::uint64_t bytes);
    void count_freed(StackId id, std::uint32_t weight, std::uint64_t bytes);

    // The stack for a report; no frames if unknown.
    void copy(StackId id, segment::Stack &out) const;

    // The allocation site: equal for stacks whose innermost frames are the same, whoever called those; 0 if unknown.
    std::uint64_t site(StackId id) const;
    static std::uint64_t site_of(const std::uint64_t *pc, std::uint32_t frames) {
        return hash_of_innermost(kSiteFrames, pc, frames);
    }

    // The same of more frames, so that what a deep template makes for two callers is two sites; a short hash. Cheap.
    std::uint16_t near_site(StackId id) const { return near_sites_[id].load(std::memory_order_relaxed); }

    // Equal for equal stacks, also over ASLR; 0 if unknown.
    std::uint64_t key(StackId id) const;

  private:
    static constexpr std::uint32_t kSlots = 2 * kStacks;
    static constexpr std::uint32_t kSiteFrames = 3;  // a wrapper of malloc or two, and who calls it
    static constexpr std::uint32_t kNearSiteFrames = kShortFrames;

    // 0 if it is new and there are `most` already.
    StackId find_or_add(const std::uintptr_t *pc, unsigned frames, std::uint32_t most, ModuleMap &modules);
    segment::StackRecord *record(StackId id) const;
    static std::uint64_t hash_of_innermost(std::uint32_t most, const std::uint64_t *pc, std::uint32_t frames);

    Segment segment_;
    // Hash (its upper bits) and number in one word. 0: free.
    std::atomic<std::uint64_t> slots_[kSlots] = {};
    std::atomic<std::uint16_t> near_sites_[kStacks] = {};
    std::atomic<std::uint32_t> used_{0};
    // The disk is full: asking again for every sample would only cost time and numbers.
    std::atomic<bool> out_of_space_{false};
};

}  // namespace hakmem
