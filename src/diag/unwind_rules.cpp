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
bool UnwindRules::Table::put(UnwindRule rule) {
    std::atomic<std::uint64_t> *at = words() + place_of(rule.pc(), shift);
    for (const std::atomic<std::uint64_t> *last = words() + places() + kMore - 1; at < last; ++at) {
        std::uint64_t seen = 0;
        if (at->compare_exchange_strong(seen, rule.word_, std::memory_order_relaxed)) {
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
    if (grows_.exchange(true)) return table;
    if (table_.load() == table) {
        const unsigned bits = table != nullptr ? 64 - table->shift + 1 : kFirstBits;
        const std::uint32_t forgets = forgets_.load();
        const bool forgetting = forgetting_.load() != 0;
        if (bits > kMostBits) {
            forget();
        } else if (Table *larger = make(bits); larger != nullptr) {
            if (table != nullptr) {
                for (std::size_t i = 0; i < table->places() + kMore; ++i) {
                    UnwindRule rule;
                    rule.word_ = table->words()[i].load(std::memory_order_relaxed);
                    if (rule.word_ != 0) larger->put(rule);
                }
            }
            table_.store(larger);
            // What was copied may be what was to be forgotten.
            if (forgetting || forgets_.load() != forgets) forget();
        }
    }
    grows_.store(false);
    return table_.load();
}

void UnwindRules::add(UnwindRule rule) {
    if (rule.word_ == 0) return;
    Table *table = table_.load(std::memory_order_acquire);
    // Half of it at most, so that nearly all are found where they are looked for first.
    if (table == nullptr ||
        2 * std::int64_t{table->used.load(std::memory_order_relaxed)} >= static_cast<std::int64_t>(table->places()))
        table = grown(table);
    if (table == nullptr) return;
    if (!table->put(rule) && (table = grown(table)) != nullptr) table->put(rule);
}

void UnwindRules::follow(std::uint64_t loads, std::uint64_t unloads) {
    if (unloads_.load() != unloads)
        forget();
    else if (loads_.load() != loads)
        forget(true);
    // Not before, as others take it for done then.
    loads_ = loads;
    unloads_ = unloads;
}

// Rules behind one that is gone may not be found any more: then they are asked for again.
void UnwindRules::forget(bool only_guesses) {
    forgetting_.fetch_add(1);
    forgets_.fetch_add(1);
    Table *table = table_.load();
    for (std::size_t i = 0; table != nullptr && i < table->places() + kMore; ++i) {
        UnwindRule rule;
        rule.word_ = table->words()[i].load(std::memory_order_relaxed);
        if (rule.word_ == 0 || (only_guesses && !rule.guessed())) continue;
        // Others may be at the same.
        if (table->words()[i].compare_exchange_strong(rule.word_, 0, std::memory_order_relaxed))
            table->used.fetch_sub(1, std::memory_order_relaxed);
    }
    forgetting_.fetch_sub(1);
}

std::size_t UnwindRules::size() const {
    const Table *table = table_.load(std::memory_order_acquire);
    const std::int32_t used = table != nullptr ? table->used.load(std::memory_order_relaxed) : 0;
    return used > 0 ? static_cast<std::size_t>(used) : 0;
}

}  // namespace hakmem
