#include "diag/stack_memo.h"

#include <iterator>

#include "os/pages.h"
#include "os/readable.h"

namespace hakmem {
namespace {

// The words of the stack from some address on, read so that its end, which nobody knows, can't be overrun.
class StackReader {
  public:
    explicit StackReader(std::uintptr_t begin) : begin_(begin) {}

    // The word `offset` bytes on; false behind the end of what can be read.
    bool read(std::size_t offset, std::uintptr_t &word) {
        if (offset >= next_) {
            // Up to the end of the page, which is there as a whole or not at all.
            const std::uintptr_t at = begin_ + next_;
            const std::size_t left = os::kPageBytes - at % os::kPageBytes;
            size_ = left < sizeof words_ ? left : sizeof words_;
            if (!os::safe_read(at, words_, size_)) return false;
            first_ = next_;
            next_ += size_;
        }
        word = words_[(offset - first_) / sizeof word];
        return true;
    }

  private:
    std::uintptr_t begin_;
    std::size_t first_ = 0, next_ = 0, size_ = 0;
    std::uintptr_t words_[256];
};

}  // namespace

void StackMemo::remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id) {
    if (id == 0 || trace.frames < 2 || trace.frames > kMostFrames) return;
    if (table_ == nullptr) {
        table_ = static_cast<Table *>(os::map(sizeof(Table)));
        if (table_ == nullptr) return;
    }
    // Every address must be found, in order. On another stack (a signal's) or in a leaf they are not.
    Entry found{0, id, trace.frames, {}};
    std::size_t innermost = 0;
    StackReader stack(frame);
    std::size_t at = sizeof(std::uintptr_t);
    std::uintptr_t word = 0;
    for (unsigned i = 0; i < trace.frames; ++i) {
        for (;; at += sizeof word) {
            if (at >= kMostBytes || !stack.read(at, word)) return;
            if (word == trace.pc[i]) break;
            // The one before, once more: which of them is it?
            if (i > 0 && word == trace.pc[i - 1]) return;
        }
        if ((word & ~Place::kAddress) != 0) return;
        found.places[i] = Place::of(at, word);
        if (i == 0) innermost = at;
        at += sizeof word;
    }
    const auto offset = static_cast<std::uint32_t>(innermost);
    Depth &depth = depth_of(frame);
    if (depth.frame != frame) depth = {frame, {}, 0};
    if (depth.offsets[0] != offset && depth.offsets[1] != offset)
        depth.offsets[depth.next++ % std::size(depth.offsets)] = offset;
    found.key = key_of(frame, trace.pc[0], offset);
    unsigned way = 0;
    while (way < kWays - 1 && entry_of(found.key, way).key != 0) ++way;
    // The others make room by one; where there is none, the last one goes.
    for (; way > 0; --way) entry_of(found.key, way) = entry_of(found.key, way - 1);
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

}  // namespace hakmem
