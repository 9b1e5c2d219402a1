#include "diag/stack_memory.h"

#include "os/pages.h"

namespace hakmem {

void StackMemory::start() {
    if (table_ != nullptr) return;
    table_ = static_cast<Table *>(os::map(sizeof(Table)));
    std::atomic_signal_fence(std::memory_order_seq_cst);
    if (table_ != nullptr) free_below_ = kAll;
}

void StackMemory::clear() {
    // A signal handler in between leaves the memory alone.
    const std::uintptr_t before = free_below_;
    free_below_ = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    for (Short &known : table_->shorts) known.cfa = 0;
    table_->last.forget();
    std::atomic_signal_fence(std::memory_order_seq_cst);
    free_below_ = before;
}

void StackMemory::forget() {
    if (table_ == nullptr) return;
    if (free_below_ != kAll) return clear();
    Table *table = table_;
    free_below_ = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    table_ = nullptr;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    os::unmap(table, sizeof(Table));
}

void StackMemory::follow(std::uint64_t changes) {
    if (changes_ == changes) return;
    changes_ = changes;
    if (table_ != nullptr) clear();
}

StackId StackMemory::find(std::uintptr_t frame) {
    // Any other walk that seems to be underway is looked at closely elsewhere.
    if (free_below_ != kAll) return 0;
    enter(frame);
    const Return from = Return::from(frame);
    const Short &known = short_at(from);
    StackId id = 0;
    if (known.cfa == from.cfa) [[likely]] {
        const auto differs = [&](const std::uint16_t *at, const std::uintptr_t *word) {
            return Return::word_at(from.cfa - Return::kWord + *at * Return::kWord) ^ *word;
        };
        const std::uint16_t *at = known.at;
        const std::uintptr_t *word = known.word, *end = word + known.words;
        std::uintptr_t differ = 0;
        do {
            differ = (differs(at, word) | differs(at + 1, word + 1)) |
                     (differs(at + 2, word + 2) | differs(at + 3, word + 3));
            at += kAtOnce;
            word += kAtOnce;
        } while (differ == 0 && word < end);
        if (differ == 0 && (!known.pointer_counts || known.pointer == from.pointer)) [[likely]]
            id = known.id;
    }
    leave();
    return id;
}

void StackMemory::keep_short(const Return &from, StackId id) {
    const LastStack &last = table_->last;
    if (last.words() > kMostWords) return;
    Short &known = short_at(from);
    // Whoever jumps out of a signal handler in between leaves none behind that is half another.
    known.cfa = 0;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    unsigned words = 0;
    bool fits = true;
    last.for_each_word([&](std::uintptr_t place, std::uintptr_t word) {
        const std::uintptr_t at = (place - (from.cfa - Return::kWord)) / Return::kWord;
        fits = fits && at <= UINT16_MAX;
        known.at[words] = static_cast<std::uint16_t>(at);
        known.word[words++] = word;
    });
    if (!fits) return;
    known.words = static_cast<std::uint8_t>(words);
    for (; words % kAtOnce != 0; ++words) {
        known.at[words] = known.at[0];
        known.word[words] = known.word[0];
    }
    known.pointer_counts = last.pointer_counts();
    known.pointer = last.pointer();
    known.id = id;
    std::atomic_signal_fence(std::memory_order_seq_cst);
    known.cfa = from.cfa;
}

StackMemory::Found StackMemory::walk(const StackTable &table, std::uintptr_t frame, const OwnStack &own, unsigned depth,
                                     StackId &id) {
    // A signal handler that has interrupted a walk goes without; one that was left by a jump is over.
    if (!own.covers(frame) || ~frame > free_below_) return Found::unwalked;
    enter(frame);
    LastStack &last = table_->last;
    Found found = Found::unwalked;
    if (last.walk(frame, own.end(), depth) == Return::Step::done) {
        id = table.find_by([&](unsigned most) { return last.key(std::min(most, depth)); }, last.frames(depth));
        if (id != 0 && last.is_whole(depth)) keep_short(Return::from(frame), id);
        found = id != 0 ? Found::known : Found::unknown;
    }
    leave();
    return found;
}

}  // namespace hakmem
