// libhakmem.so: the allocator with the production policy.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <new>

#include "core/allocator.h"
#include "core/sweep.h"
#include "hakmem.h"
#include "malloc/copy_out.h"
#include "malloc/fork_order.h"
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

// One line a process says all: the first bug that shows.
constinit std::atomic<bool> said{false};

void say(const char *what, const char *then, const Finding &finding) {
    if (said.exchange(true, std::memory_order_relaxed)) return;
    char line[256];
    char *end = append(line, "hakmem: ");
    end = append(end, what);
    end = append_hex(end, finding.facts.address);
    end = append(end, ": ");
    end = append(end, segment::kKindNames[static_cast<unsigned>(finding.kind)]);
    end = append(end, then);
    end = append(end, "; libhakmem-diag.so tells more (said once)\n");
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line, static_cast<std::size_t>(end - line));
}

constinit std::uint64_t started_ns = 0;

[[gnu::constructor]] void remember_start() { started_ns = os::monotonic_ns(); }

// The last look may take a hundredth of the run.
std::uint64_t last_look_ns() {
    constexpr std::uint64_t kMost = 100'000'000, kLeast = 1'000'000, kShare = 100;
    return std::clamp((os::monotonic_ns() - started_ns) / kShare, kLeast, kMost);
}

}  // namespace

void ProductionProbe::bad_free(ThreadState &, const Finding &finding) {
    if (!finding.incident) return;
    say("bad free of ", finding.outcome == HeaderInvalid::recovered ? ", repaired and freed" : ", left alone", finding);
}

void ProductionProbe::library_ended() {
    Finding finding;
    if (said.load(std::memory_order_relaxed)) return;
    if (find_overwritten(last_look_ns(), finding)) say("found at exit, at ", "", finding);
}

using Active = Allocator<ProductionProbe>;

}  // namespace hakmem

#include "malloc/entry_points.inc"

// What hakmem.h looks up.
extern "C" {

HAKMEM_PUBLIC int hakmem_v1_library() noexcept { return HAKMEM_PRODUCTION; }

HAKMEM_PUBLIC int hakmem_v1_read_counters(hakmem_counters *counters, std::size_t bytes) noexcept {
    hakmem_counters known{};
    known.mapped_bytes = hakmem::page_heap.gauges().mapped_bytes;
    hakmem::copy_out(known, counters, bytes);
    errno = ENOTSUP;
    return -1;
}

HAKMEM_PUBLIC int hakmem_v1_audit(hakmem_audit_result *result, std::size_t bytes) noexcept {
    if (result != nullptr) hakmem::copy_out(hakmem_audit_result{}, result, bytes);
    errno = ENOTSUP;
    return -1;
}

// There are no incidents to bear it.
HAKMEM_PUBLIC int hakmem_v1_tag_thread(const char *) noexcept { return 0; }

}  // extern "C"
