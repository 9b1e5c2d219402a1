// libhakmem-diag.so: the same allocator with the diagnostic policy.
#include <unistd.h>

#include <cstdio>
#include <new>

#include "core/allocator.h"
#include "diag/probe.h"

namespace hakmem {

using Active = Allocator<DiagProbe>;

}  // namespace hakmem

#include "malloc/entry_points.inc"
