// An incident in words on stderr, with raw program counters: for report=stderr and on_error=abort.
#pragma once

#include "segment/layout.h"

namespace hakmem {

// `modules` are the records that the stacks refer to, `module_count` of them.
void print_incident(const segment::IncidentRecord &record, const segment::ModuleRecord *modules,
                    std::uint32_t module_count);

}  // namespace hakmem
