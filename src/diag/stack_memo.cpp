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

StackId StackMemo::find(std::uintptr_t frame) {
    if (table_ == nullptr) return 0;
    const Depth &depth = depth_of(frame);
    if (depth.frame != frame) return 0;
    for (const std::uint32_t offset : depth.offsets) {
        if (offset == 0) continue;
        const std::uintptr_t pc = word_at(frame + offset);
        const Bucket &bucket = bucket_of(frame, pc);
        for (unsigned way = 0; way < kWays; ++way) {
            const Key &key = bucket.keys[way];
            if (key.frame != frame || key.pc != pc || key.offset != offset) continue;
            const Entry &entry = bucket.entries[way];
            // Inner frames first: where they are the same, the memory of the outer ones is there too.
            unsigned same = 1;
            while (same < entry.frames && word_at(frame + entry.offset[same]) == entry.pc[same]) ++same;
            if (same == entry.frames) return entry.id;
        }
    }
    return 0;
}

void StackMemo::remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id) {
    if (id == 0 || trace.frames < 2 || trace.frames > kMostFrames) return;
    if (table_ == nullptr) {
        table_ = static_cast<Table *>(os::map(sizeof(Table)));
        if (table_ == nullptr) return;
    }
    // Every address must be found, in order. On another stack (a signal's) or in a leaf they are not.
    Entry found{id, trace.frames, {}, {}};
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
        found.offset[i] = static_cast<std::uint32_t>(at);
        found.pc[i] = trace.pc[i];
        at += sizeof word;
    }
    Depth &depth = depth_of(frame);
    if (depth.frame != frame) depth = {frame, {}, 0};
    if (depth.offsets[0] != found.offset[0] && depth.offsets[1] != found.offset[0])
        depth.offsets[depth.next++ % std::size(depth.offsets)] = found.offset[0];
    Bucket &bucket = bucket_of(frame, found.pc[0]);
    const unsigned way = bucket.next++ % kWays;
    bucket.keys[way] = {frame, found.pc[0], found.offset[0]};
    bucket.entries[way] = found;
}

void StackMemo::forget() {
    if (table_ != nullptr) os::unmap(table_, sizeof(Table));
    table_ = nullptr;
}

}  // namespace hakmem
