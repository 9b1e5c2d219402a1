#include "diag/stack_memo.h"

#include "os/pages.h"

namespace hakmem {

StackId StackMemo::find(std::uintptr_t frame) {
    if (entries_ == nullptr) return 0;
    for (const std::uint32_t offset : first_offset_) {
        if (offset == 0) break;
        const std::uintptr_t pc = word_at(frame + offset);
        const Entry &entry = entries_[slot(frame, pc)];
        if (entry.frame != frame || entry.pc[0] != pc || entry.offset[0] != offset) continue;
        // Inner frames first: where they are the same, the memory of the outer ones is there too.
        unsigned same = 1;
        while (same < entry.frames && word_at(frame + entry.offset[same]) == entry.pc[same]) ++same;
        if (same == entry.frames) return entry.id;
    }
    return 0;
}

void StackMemo::remember(std::uintptr_t frame, const backtrace::Trace &trace, StackId id) {
    if (id == 0 || trace.frames < 2 || trace.frames > kMostFrames) return;
    if (entries_ == nullptr) {
        entries_ = static_cast<Entry *>(os::map(kEntries * sizeof(Entry)));
        if (entries_ == nullptr) return;
    }
    // Every address must be found, in order; the unwinder has walked this stack, so all of it can be read.
    Entry found{frame, id, trace.frames, {}, {}};
    std::size_t at = sizeof(std::uintptr_t);
    unsigned ambiguous = 0;
    for (unsigned i = 0; i < trace.frames; ++i) {
        while (at < kMostBytes && word_at(frame + at) != trace.pc[i]) {
            // The one before, once more: which of them is it?
            if (i > 0 && word_at(frame + at) == trace.pc[i - 1] && trace.pc[i - 1] != trace.pc[i]) ++ambiguous;
            at += sizeof(std::uintptr_t);
        }
        if (at >= kMostBytes || ambiguous != 0) return;
        found.offset[i] = static_cast<std::uint32_t>(at);
        found.pc[i] = trace.pc[i];
        at += sizeof(std::uintptr_t);
    }
    for (unsigned way = 0; way < kWays; ++way) {
        if (first_offset_[way] == found.offset[0]) break;
        if (first_offset_[way] == 0 || way == kWays - 1) {
            first_offset_[way] = found.offset[0];
            break;
        }
    }
    entries_[slot(frame, found.pc[0])] = found;
}

void StackMemo::forget() {
    if (entries_ != nullptr) os::unmap(entries_, kEntries * sizeof(Entry));
    entries_ = nullptr;
}

}  // namespace hakmem
