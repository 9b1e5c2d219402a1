// libhakmem.so: the allocator with the production policy.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/allocator.h"
#include "malloc/production_probe.h"

namespace hakmem {

namespace {

char *append(char *to, const char *text) {
    const std::size_t bytes = std::strlen(text);
    std::memcpy(to, text, bytes);
    return to + bytes;
}

char *append_hex(char *to, std::uintptr_t value) {
    to = append(to, "0x");
    int shift = 60;
    while (shift > 0 && (value >> shift & 15) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) *to++ = "0123456789abcdef"[value >> shift & 15];
    return to;
}

}  // namespace

void ProductionProbe::bad_free(ThreadState &, const Finding &finding) {
    if (!finding.incident) return;
    static constinit std::atomic<bool> said{false};
    if (said.exchange(true, std::memory_order_relaxed)) return;
    char line[256];
    char *end = append(line, "hakmem: bad free of ");
    end = append_hex(end, finding.facts.address);
    end = append(end, ": ");
    end = append(end, segment::kKindNames[static_cast<unsigned>(finding.kind)]);
    end = append(end, finding.outcome == HeaderInvalid::recovered ? ", repaired and freed" : ", left alone");
    end = append(end, "; libhakmem-diag.so tells more (said once)\n");
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, static_cast<std::size_t>(end - line));
}

using Active = Allocator<ProductionProbe>;

}  // namespace hakmem

#include "malloc/entry_points.inc"
