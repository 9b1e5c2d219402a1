// From a finding to an incident: counts it, takes the backtrace, files it in the incident table, and does what
// on_error says.
#pragma once

#include "core/fault.h"
#include "segment/layout.h"

namespace hakmem {

// `shard` is the calling thread's. Doesn't return where on_error is abort.
void record_bad_free(segment::CounterShard &shard, const Finding &finding);

}  // namespace hakmem
