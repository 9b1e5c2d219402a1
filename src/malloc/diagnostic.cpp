// libhakmem-diag.so: the same allocator with the diagnostic policy.
#include <unistd.h>

#include <cstdio>
#include <new>

#include "core/allocator.h"
#include "diag/incident.h"
#include "diag/own_counters.h"
#include "diag/probe.h"
#include "hakmem.h"
#include "malloc/copy_out.h"
#include "malloc/fork_order.h"

namespace hakmem {

using Active = Allocator<DiagProbe>;

}  // namespace hakmem

#include "malloc/entry_points.inc"

// What hakmem.h looks up.
extern "C" {

HAKMEM_PUBLIC int hakmem_v1_library() noexcept { return HAKMEM_DIAGNOSTIC; }

HAKMEM_PUBLIC int hakmem_v1_read_counters(hakmem_counters *counters, std::size_t bytes) noexcept {
    hakmem::copy_out(hakmem::own_counters(), counters, bytes);
    return 0;
}

HAKMEM_PUBLIC int hakmem_v1_audit(hakmem_audit_result *result, std::size_t bytes) noexcept {
    hakmem::audit::Result found = hakmem::DiagProbe::audit_now();
    if (!found.ran) {
        Active::deallocate(Active::allocate(1));  // the thread's first use of the allocator may be this
        found = hakmem::DiagProbe::audit_now();
    }
    if (!found.ran) {
        errno = EBUSY;
        return -1;
    }
    if (result != nullptr)
        hakmem::copy_out(hakmem_audit_result{found.headers, found.corrupt, found.complete}, result, bytes);
    return found.corrupt != 0 ? 1 : 0;
}

HAKMEM_PUBLIC int hakmem_v1_tag_thread(const char *tag) noexcept {
    hakmem::tag_thread(tag);
    return 0;
}

}  // extern "C"
