#include "diag/stack_table.h"

#include <algorithm>

#include "diag/backtrace.h"

namespace hakmem {

static_assert(kStacks < Note::kMostStacks);

void StackTable::start(const Segment &segment) {
    segment_ = segment;
    if (used_.load(std::memory_order_relaxed) > 1) {  // a fork's child needn't copy the pages of a clean table
        for (auto &slot : slots_) slot.store(0, std::memory_order_relaxed);
    }
    used_ = 1;  // number 0 is nobody's
    out_of_space_ = false;
}

void StackTable::carry_over(const Segment &segment) {
    segment_ = segment;
    out_of_space_ = false;
    for (StackId id = 1; id < used(); ++id) {
        segment::StackRecord &stack = segment.stacks()[id];
        stack.allocated_objects -= std::min(stack.freed_objects, stack.allocated_objects);
        stack.allocated_bytes -= std::min(stack.freed_bytes, stack.allocated_bytes);
        stack.freed_objects = stack.freed_bytes = 0;
    }
    segment.header().stacks_used = used();
}

StackId StackTable::intern(const std::uintptr_t *pc, unsigned frames, ModuleMap &modules) {
    if (!segment_ || frames == 0) return 0;
    StackId id = 0;
    for (unsigned i = 0; id == 0 && i < std::size(kStages); ++i) {
        // What is no longer than the next stage's has room there.
        if (i + 1 < std::size(kStages) && frames <= kStages[i + 1].frames) continue;
        id = find_or_add(pc, std::min(frames, kStages[i].frames), kStages[i].most, modules);
    }
    return id;
}

StackId StackTable::find_or_add(const std::uintptr_t *pc, unsigned frames, std::uint32_t most, ModuleMap &modules) {
    static_assert(kStacks <= kIdMask);
    const std::uint64_t hash = Key::of(pc, frames).word_;
    const std::uint64_t tag = hash & ~kIdMask;
    for (std::uint32_t probe = 0; probe < kSlots; ++probe) {
        std::atomic<std::uint64_t> &slot = slots_[(hash + probe) % kSlots];
        std::uint64_t value = slot.load(std::memory_order_acquire);
        if (value == 0) {
            if (out_of_space_.load(std::memory_order_relaxed)) return 0;
            std::uint32_t id = used_.load(std::memory_order_relaxed);
            do {
                if (id >= most) return 0;
            } while (!used_.compare_exchange_weak(id, id + 1));
            if (!prepare_memory(&segment_.stacks()[id], kStackRecordBytes)) {
                out_of_space_ = true;
                return 0;
            }
            if (!slot.compare_exchange_strong(value, tag | id)) {
                // Somebody took the slot: the number is lost, its record stays empty, and readers pass over it.
                --probe;
                continue;
            }
            if (backtrace::enter()) {
                modules.refresh();
                backtrace::leave();
            }
            segment::StackRecord &record = segment_.stacks()[id];
            record.frames = std::min(frames, segment::kMaxFrames);
            for (unsigned i = 0; i < record.frames; ++i) {
                record.pc[i] = pc[i];
                record.module[i] = modules.find(pc[i]);
            }
            near_sites_[id].store(static_cast<std::uint16_t>(hash_of_innermost(kNearSiteFrames, pc, frames) >> 48),
                                  std::memory_order_relaxed);
            std::uint64_t lasting = 0x51A7;
            for (unsigned i = 0; i < record.frames; ++i) {
                lasting = (lasting ^ modules.identify(record.module[i], pc[i])) * 0xBF58476D1CE4E5B9;
                lasting ^= lasting >> 31;
            }
            std::atomic_ref(record.key).store(lasting | 1, std::memory_order_release);
            std::atomic_ref<std::uint32_t> shown(segment_.header().stacks_used);
            std::uint32_t seen = shown.load(std::memory_order_relaxed);
            while (seen < id + 1 && !shown.compare_exchange_weak(seen, id + 1)) {
            }
            return id;
        }
        if ((value & ~kIdMask) == tag) return static_cast<StackId>(value & kIdMask);
    }
    return 0;
}

segment::StackRecord *StackTable::record(StackId id) const {
    if (!segment_ || id == 0 || id >= used_.load(std::memory_order_relaxed)) return nullptr;
    return &segment_.stacks()[id];
}

void StackTable::count_allocated(StackId id, std::uint32_t weight, std::uint64_t bytes) {
    segment::StackRecord *stack = record(id);
    if (stack == nullptr) return;
    std::atomic_ref(stack->allocated_objects).fetch_add(weight, std::memory_order_relaxed);
    std::atomic_ref(stack->allocated_bytes)
        .fetch_add(std::uint64_t{weight} * bytes >> segment::kObjectFractionBits, std::memory_order_relaxed);
}

void StackTable::count_freed(StackId id, std::uint32_t weight, std::uint64_t bytes) {
    segment::StackRecord *stack = record(id);
    if (stack == nullptr) return;
    std::atomic_ref(stack->freed_objects).fetch_add(weight, std::memory_order_relaxed);
    std::atomic_ref(stack->freed_bytes)
        .fetch_add(std::uint64_t{weight} * bytes >> segment::kObjectFractionBits, std::memory_order_relaxed);
}

void StackTable::copy(StackId id, segment::Stack &out) const {
    const segment::StackRecord *stack = record(id);
    if (stack == nullptr || std::atomic_ref(const_cast<std::uint64_t &>(stack->key)).load() == 0) return;
    out.frames = std::min(stack->frames, segment::kMaxFrames);
    for (unsigned i = 0; i < out.frames; ++i) {
        out.pc[i] = stack->pc[i];
        out.module[i] = stack->module[i];
    }
}

std::uint64_t StackTable::site(StackId id) const {
    const segment::StackRecord *stack = record(id);
    return stack == nullptr ? 0 : site_of(stack->pc, stack->frames);
}

std::uint64_t StackTable::hash_of_innermost(std::uint32_t most, const std::uint64_t *pc, std::uint32_t frames) {
    std::uint64_t hash = 0;
    for (std::uint32_t i = 0; i < std::min(frames, most); ++i) hash = (hash ^ pc[i]) * 0x9E3779B97F4A7C15;
    return hash;
}

std::uint64_t StackTable::key(StackId id) const {
    const segment::StackRecord *stack = record(id);
    return stack == nullptr ? 0 : std::atomic_ref(const_cast<std::uint64_t &>(stack->key)).load();
}

}  // namespace hakmem
