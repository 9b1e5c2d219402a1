// Where a caller's frame is, by return address: what the unwinder has said of an address once (backtrace::rule_of)
// holds each time it is met again, as it comes from the object's own tables. So a stack that was never seen before is
// walked for the price of some loads a frame, in any thread and at any depth, if only its addresses are known.
//
// A cache for all threads, lock-free: a rule and its address are one word. It grows as it fills; what no room is left
// for is asked for again.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hakmem {

// One address's. The caller's frame is told by its "canonical frame address" (CFA): where its stack pointer stands once
// the callee has returned.
class UnwindRule {
  public:
    enum class Kind : unsigned {
        stack_pointer,  // the CFA is so many bytes above the callee's
        frame_pointer,  // or above where the frame pointer points
        end,            // nobody has called that one, or nobody knows who
        other,          // too complicated for here
        guess = 5,      // there are no tables, but code that keeps a frame pointer is common
    };

    constexpr UnwindRule() = default;  // none
    // Bytes: from what `kind` says to the CFA, and from where the frame pointer was saved to there, 0 if it wasn't.
    // `other` where they don't fit.
    static constexpr UnwindRule of(std::uintptr_t pc, Kind kind, std::uintptr_t bytes, std::uintptr_t saved) {
        UnwindRule rule;
        if (pc >> kPcBits != 0) return rule;
        const bool fits = bytes % kUnit == 0 && saved % kWord == 0 && bytes <= kMostBytes && saved <= kMostSaved;
        rule.word_ = pc << kPcShift | (fits ? static_cast<std::uint64_t>(kind) | bytes / 2 | saved << kSavedShift
                                            : static_cast<std::uint64_t>(Kind::other));
        return rule;
    }

    bool is_of(std::uintptr_t pc) const { return word_ >> kPcShift == pc; }
    std::uintptr_t pc() const { return word_ >> kPcShift; }
    Kind kind() const { return Kind{static_cast<unsigned>(word_) & kKinds}; }
    // It is of `pc`, and that one has a caller; of which kind then is one bit.
    bool leads_on_from(std::uintptr_t pc) const {
        constexpr std::uint64_t kNumbers = (std::uint64_t{1} << kPcShift) - 1;
        return ((word_ ^ pc << kPcShift) & ~(kNumbers & ~std::uint64_t{kNoCaller})) == 0;
    }
    bool by_pointer() const { return (word_ & kByPointer) != 0; }
    bool guessed() const { return (word_ & kGuessed) != 0; }
    std::uintptr_t bytes() const { return (word_ & kMostBytes / 2) * 2; }
    std::uintptr_t saved() const { return word_ >> kSavedShift & kMostSaved; }

  private:
    friend class UnwindRules;

    // From below: the kind, then half the bytes to the CFA (both are where the stack pointer stands before a call, so
    // aligned to 16), then those to what was saved, then the address.
    static constexpr std::uintptr_t kWord = sizeof(std::uintptr_t), kUnit = 2 * kWord;
    static constexpr unsigned kKinds = 7, kBytesEnd = 14, kSavedBits = 3;
    static constexpr unsigned kByPointer = 1, kNoCaller = 2, kGuessed = 4;
    static_assert(static_cast<unsigned>(Kind::end) == kNoCaller &&
                  static_cast<unsigned>(Kind::other) == (kNoCaller | kByPointer) &&
                  static_cast<unsigned>(Kind::frame_pointer) == kByPointer &&
                  static_cast<unsigned>(Kind::guess) == (kGuessed | kByPointer));
    static constexpr unsigned kSavedShift = kBytesEnd - 3;
    static constexpr unsigned kPcShift = kBytesEnd + kSavedBits, kPcBits = 64 - kPcShift;
    static_assert(kPcBits == 47);  // user space of x86-64

    std::uint64_t word_ = 0;

  public:
    static constexpr std::uintptr_t kMostBytes = (std::uintptr_t{2} << kBytesEnd) - kUnit;
    static constexpr std::uintptr_t kMostSaved = ((std::uintptr_t{1} << kSavedBits) - 1) * kWord;
};

class UnwindRules {
    struct alignas(std::uint64_t) Table {
        unsigned shift;                  // what a hash is shifted by for a place
        std::atomic<std::int32_t> used;  // below 0 for a moment, where one is forgotten before it is counted

        // Each address's at its place or, where that is taken, behind it, before the first 0. There always is one.
        std::atomic<std::uint64_t> *words() { return reinterpret_cast<std::atomic<std::uint64_t> *>(this + 1); }
        const std::atomic<std::uint64_t> *words() const {
            return reinterpret_cast<const std::atomic<std::uint64_t> *>(this + 1);
        }
        std::size_t places() const { return std::size_t{1} << (64 - shift); }
        bool put(UnwindRule rule);
    };

  public:
    // For the many lookups of one walk.
    class View {
      public:
        // The rule of `pc`; one that is of no address if there is none yet.
        [[gnu::always_inline]] UnwindRule find(std::uintptr_t pc) const {
            UnwindRule rule;
            const std::atomic<std::uint64_t> *at = words_ + place_of(pc, shift_);
            do {
                rule.word_ = at++->load(std::memory_order_relaxed);
            } while (!rule.is_of(pc) && rule.word_ != 0);
            return rule;
        }
        // The one at the first place that it could be at.
        [[gnu::always_inline]] UnwindRule at_its_place(std::uintptr_t pc) const {
            UnwindRule rule;
            rule.word_ = words_[place_of(pc, shift_)].load(std::memory_order_relaxed);
            return rule;
        }
        explicit operator bool() const { return words_ != nullptr; }

      private:
        friend class UnwindRules;
        const std::atomic<std::uint64_t> *words_ = nullptr;
        unsigned shift_ = 0;
    };

    // False where nothing is known yet.
    [[gnu::always_inline]] View view() const {
        View view;
        if (const Table *table = table_.load(std::memory_order_acquire); table != nullptr) {
            view.words_ = table->words();
            view.shift_ = table->shift;
        }
        return view;
    }

    // Whoever looks sees it from now on, or not yet. Where there is no memory it is not kept.
    void add(UnwindRule rule);

    // So many objects have been loaded and unloaded. What was told of those that are gone is forgotten, or guessed
    // where some may be now. Whoever still goes by that gets a stack that nobody has seen, and comes by here.
    void follow(std::uint64_t loads, std::uint64_t unloads);
    void forget() { forget(false); }

    std::size_t size() const;

    static constexpr unsigned kFirstBits = 9, kMostBits = 17;

  private:
    // Behind the last place, for those that found theirs taken. The very last stays 0.
    static constexpr std::size_t kMore = 64;

    static std::size_t place_of(std::uintptr_t pc, unsigned shift) { return pc * 0x9E3779B97F4A7C15 >> shift; }
    static Table *make(unsigned bits);
    Table *grown(Table *table);
    void forget(bool only_guesses);

    std::atomic<Table *> table_{nullptr};
    std::atomic<bool> grows_{false};  // as add comes inside the gate (backtrace.h), no fork finds it set
    std::atomic<std::uint32_t> forgets_{0}, forgetting_{0};  // how often that was begun, and how many are at it
    std::atomic<std::uint64_t> loads_{0}, unloads_{0};
};

// All threads'.
extern constinit UnwindRules unwind_rules;

}  // namespace hakmem
