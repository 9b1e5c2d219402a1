#include "diag/stack_memo.h"

#include <pthread.h>

#include <iterator>

#include "base/bits.h"
#include "diag/process.h"
#include "os/lock.h"
#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {
namespace {

// The words of the stack from some address on. `sure` bytes are there; the others are read so that the end, which
// nobody knows, can't be overrun.
class StackReader {
  public:
    StackReader(std::uintptr_t begin, std::size_t sure) : begin_(begin), sure_(sure) {}

    // The word `offset` bytes on, no less than the time before; false behind the end of what can be read. What lies
    // between the return addresses is not ours to look at, says AddressSanitizer.
    __attribute__((no_sanitize("address"))) bool read(std::size_t offset, std::uintptr_t &word) {
        if (offset + sizeof word <= sure_) {
            word = *pointer_to<const std::uintptr_t>(begin_ + offset);
            return true;
        }
        if (offset >= first_ + size_) {
            // Up to the end of the page, which is there as a whole or not at all.
            const std::uintptr_t at = begin_ + offset;
            const std::size_t left = os::kPageBytes - at % os::kPageBytes;
            size_ = left < sizeof words_ ? left : sizeof words_;
            if (!os::safe_read(at, words_, size_)) return false;
            first_ = offset;
        }
        word = words_[(offset - first_) / sizeof word];
        return true;
    }

  private:
    std::uintptr_t begin_;
    std::size_t sure_;
    std::size_t first_ = 0, size_ = 0;
    std::uintptr_t words_[256];
};

std::uintptr_t this_thread() { return static_cast<std::uintptr_t>(pthread_self()); }

}  // namespace

// A thread's own record lies right above its stack; above the first thread's lies what the kernel has put there.
bool StackMemo::is_on_own_stack(std::uintptr_t frame) {
    if (own_begin_ <= frame && frame < own_end_) return true;
    constexpr std::uintptr_t kMostAtOnce = std::uintptr_t{64} * os::kPageBytes;
    const auto is_near = [&](std::uintptr_t end) { return frame < end && end - frame <= kMostAtOnce; };
    std::uintptr_t end = own_begin_;
    if (own_end_ == 0) end = is_near(this_thread()) ? this_thread() : process::main_stack_end();
    if (!is_near(end)) return false;
    const std::uintptr_t begin = frame - frame % os::kPageBytes;
    std::uintptr_t word = 0;
    for (std::uintptr_t page = begin; page < end; page += os::kPageBytes)
        if (!os::safe_read(page, &word, sizeof word)) return false;
    own_begin_ = begin;
    if (own_end_ == 0) own_end_ = end;
    return true;
}

void StackMemo::remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id) {
    if (id == 0 || trace.frames < 2 || trace.frames > kMostFrames) return;
    if (table_ == nullptr) {
        table_ = static_cast<Table *>(os::map(sizeof(Table)));
        if (table_ == nullptr) return;
    }
    // Every address must be found, in order. On another stack (a signal's) or in a leaf they are not.
    Entry found{0, id, trace.frames, {}, {}};
    std::size_t innermost = 0;
    const bool own = is_on_own_stack(frame);
    StackReader stack(frame, own ? own_end_ - frame : 0);
    std::size_t at = sizeof(std::uintptr_t);
    std::uintptr_t word = 0;
    for (unsigned i = 0; i < trace.frames; ++i) {
        for (;; at += sizeof word) {
            if (at >= kMostBytes || !stack.read(at, word)) return;
            if (word == trace.pc[i]) break;
            // The one before, once more: which of them is it?
            if (i > 0 && word == trace.pc[i - 1]) return;
        }
        found.offsets[i] = static_cast<std::uint16_t>(at / sizeof word);
        found.pcs[i] = word;
        if (i == 0) innermost = at;
        at += sizeof word;
    }
    const auto offset = static_cast<std::uint32_t>(innermost);
    Depth &depth = depth_of(frame);
    if (depth.frame != frame) depth = {frame, {}, 0, own};
    if (depth.offsets[0] != offset && depth.offsets[1] != offset)
        depth.offsets[depth.next++ % std::size(depth.offsets)] = offset;
    found.key = key_of(frame, trace.pc[0], offset);
    unsigned way = 0;
    while (way < kWays - 1 && entry_of(found.key, way).key != 0) {
        const Entry &known = entry_of(found.key, way);
        // Only its depth had been forgotten.
        if (known.key == found.key && known.id == id && known.holds(frame)) return;
        ++way;
    }
    // The first makes room for it, and has the place of one whose turn it is where there is none.
    if (entry_of(found.key, way).key != 0) way = 1 + victim_++ % (kWays - 1);
    if (way != 0) entry_of(found.key, way) = entry_of(found.key, 0);
    entry_of(found.key, 0) = found;
}

StackId StackMemo::find_further(const Depth &depth) const {
    for (const std::uint32_t offset : depth.offsets) {
        if (offset == 0) continue;
        const std::uint64_t key = key_of(depth.frame, word_at(depth.frame + offset), offset);
        for (unsigned way = 0; way < kWays; ++way) {
            const Entry &entry = entry_of(key, way);
            if (entry.key == key && entry.holds(depth.frame)) return entry.id;
        }
    }
    return 0;
}

void StackMemo::forget() {
    if (table_ != nullptr) os::unmap(table_, sizeof(Table));
    table_ = nullptr;
}

// ---- from one thread to the next ----

// The latest ones. Of a thread that starts, the record is where that of the former one was: so is the upper end of its
// stack, and what could be read above a frame still can.
struct StackMemo::Left {
    static constexpr unsigned kMost = 16;

    Lock lock;
    unsigned count = 0;
    struct {
        Table *table;
        std::uintptr_t thread;
    } tables[kMost] = {};

    // The one at this place is the caller's.
    Table *take(unsigned place) {
        Table *table = tables[place].table;
        for (--count; place < count; ++place) tables[place] = tables[place + 1];
        return table;
    }

    static Left all;
};
constinit StackMemo::Left StackMemo::Left::all;

void StackMemo::take_left() {
    if (table_ != nullptr) return;
    const LockGuard guard(Left::all.lock);
    for (unsigned i = Left::all.count; i-- > 0;) {
        if (Left::all.tables[i].thread == this_thread()) {
            table_ = Left::all.take(i);
            return;
        }
    }
}

void StackMemo::leave() {
    if (table_ == nullptr) return;
    // Frames on a stack of some other kind say nothing about the next thread.
    for (Depth &depth : table_->depths)
        if (depth.frame != 0 && !depth.on_own_stack) depth = {};
    Table *oldest = nullptr;
    {
        const LockGuard guard(Left::all.lock);
        if (Left::all.count == Left::kMost) oldest = Left::all.take(0);
        Left::all.tables[Left::all.count++] = {table_, this_thread()};
    }
    if (oldest != nullptr) os::unmap(oldest, sizeof(Table));
    *this = {};
}

void StackMemo::forget_left() {
    for (;;) {
        Table *table = nullptr;
        {
            const LockGuard guard(Left::all.lock);
            if (Left::all.count == 0) return;
            table = Left::all.take(0);
        }
        os::unmap(table, sizeof(Table));
    }
}

void StackMemo::before_fork() { Left::all.lock.lock(); }

void StackMemo::after_fork_in_parent() { Left::all.lock.unlock(); }

void StackMemo::restart_after_fork() {
    Left::all.lock.reset();
    forget_left();
    forget();
}

}  // namespace hakmem
