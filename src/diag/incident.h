// From a finding to an incident: counts it, takes the backtrace, files it in the incident table, and does what
// on_error says.
#pragma once

#include <cstdint>

#include "core/fault.h"
#include "diag/backtrace.h"
#include "diag/note.h"
#include "segment/layout.h"

namespace hakmem {

// What is known about an incident beyond the finding. Everything is optional.
struct Evidence {
    StackId alloc = 0;          // who allocated the block
    StackId previous_free = 0;  // who freed it before
    StackId suspect_alloc = 0;
    std::uint64_t asked_bytes = 0;
    bool offset_known = false;  // `offset` takes the place of address - block
    std::int64_t offset = 0;
    std::uintptr_t dump_center = 0;            // instead of the header
    const backtrace::Trace *stack = nullptr;   // instead of one of the caller
    const backtrace::Trace *writer = nullptr;  // the stack of whoever writes, instead of one of the caller
    bool found_later = false;                  // not by the call that is going on: its stack says nothing
};

// What this thread's incidents bear in place of its name; null or empty: its name.
void tag_thread(const char *tag);

// `shard` is the calling thread's. Doesn't return where on_error is abort.
void record_bad_free(segment::CounterShard &shard, const Finding &finding, const Evidence &evidence);

// The same for what isn't a free with a bad header.
void record_incident(segment::CounterShard &shard, const Finding &finding, const Evidence &evidence);

}  // namespace hakmem
