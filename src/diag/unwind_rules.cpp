#include "diag/unwind_rules.h"

#include "os/pages.h"

namespace hakmem {

constinit UnwindRules unwind_rules;

UnwindRules::Table *UnwindRules::make(unsigned bits) {
    const std::size_t words = (std::size_t{1} << bits) + kMore;
    auto *table = static_cast<Table *>(os::map(sizeof(Table) + words * sizeof(std::uint64_t)));
    if (table != nullptr) table->shift = 64 - bits;
    return table;
}

// False where what is behind its place is full.
bool UnwindRules::Table::put(std::uint64_t word) {
    UnwindRule rule;
    rule.word_ = word;
    std::atomic<std::uint64_t> *at = words() + place_of(rule.pc(), shift);
    for (const std::atomic<std::uint64_t> *last = words() + places() + kMore - 1; at < last; ++at) {
        std::uint64_t seen = 0;
        if (at->compare_exchange_strong(seen, word, std::memory_order_relaxed)) {
            used.fetch_add(1, std::memory_order_relaxed);
            return true;
        }
        UnwindRule other;
        other.word_ = seen;
        if (other.is_of(rule.pc())) return true;
    }
    return false;
}

// The table itself where another thread is at it already, or there is no memory. The old one stays: others may be
// looking at it, and all old ones together are smaller than the new one.
UnwindRules::Table *UnwindRules::grown(Table *table) {
    if (grows_.exchange(true, std::memory_order_acquire)) return table;
    if (table_.load(std::memory_order_relaxed) == table) {
        const unsigned bits = table != nullptr ? 64 - table->shift + 1 : kFirstBits;
        if (bits > kMostBits) {
            forget();
        } else if (Table *larger = make(bits); larger != nullptr) {
            if (table != nullptr) {
                for (std::size_t i = 0; i < table->places() + kMore; ++i) {
                    const std::uint64_t word = table->words()[i].load(std::memory_order_relaxed);
                    if (word != 0) larger->put(word);
                }
            }
            table_.store(larger, std::memory_order_release);
        }
    }
    grows_.store(false, std::memory_order_release);
    return table_.load(std::memory_order_relaxed);
}

void UnwindRules::add(UnwindRule rule) {
    if (rule.word_ == 0) return;
    Table *table = table_.load(std::memory_order_acquire);
    // Half of it at most, so that nearly all are found where they are looked for first.
    if (table == nullptr || 2 * table->used.load(std::memory_order_relaxed) >= table->places()) table = grown(table);
    if (table == nullptr) return;
    if (!table->put(rule.word_) && (table = grown(table)) != nullptr) table->put(rule.word_);
}

void UnwindRules::follow(std::uint64_t unloads) {
    if (unloads_.load(std::memory_order_relaxed) != unloads && unloads_.exchange(unloads) != unloads) forget();
}

void UnwindRules::forget() {
    Table *table = table_.load(std::memory_order_acquire);
    if (table == nullptr) return;
    for (std::size_t i = 0; i < table->places() + kMore; ++i) table->words()[i].store(0, std::memory_order_relaxed);
    table->used.store(0, std::memory_order_relaxed);
}

std::size_t UnwindRules::size() const {
    const Table *table = table_.load(std::memory_order_acquire);
    return table != nullptr ? table->used.load(std::memory_order_relaxed) : 0;
}

}  // namespace hakmem
