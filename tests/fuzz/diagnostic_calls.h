// The diagnostic policy as api_model.h drives it: levels change at random, audits run, and neither finds anything.
#pragma once

#include <atomic>
#include <cstdlib>

#include "api_model.h"
#include "diag/own_counters.h"
#include "diag/probe.h"
#include "diag/state.h"

namespace hakmem::test {

using Diagnostic = Allocator<DiagProbe>;

struct DiagnosticCalls {
    // Before the first call of the allocator: a folder for the segment, and much happening in little time.
    static void start(const char *folder, const char *options) {
        setenv("HAKMEM_RUNTIME_DIR", folder, 1);
        setenv("HAKMEM_OPTIONS", options, 1);
        Diagnostic::deallocate(Diagnostic::allocate(1));
        require(state.segment.shared, "no segment");
    }

    static void set_level(segment::Level level) {
        segment::Control &control = state.segment.header().control;
        std::atomic_ref(control.level).store(static_cast<std::uint32_t>(level), std::memory_order_relaxed);
        std::atomic_ref(control.generation).fetch_add(1, std::memory_order_release);
    }

    static void control(std::uint8_t how) {
        if (how >= 224)
            require(DiagProbe::audit_now().corrupt == 0, "an audit found something");
        else
            set_level(static_cast<segment::Level>(how % 4));
    }

    static void thread_ends() {}

    static void nothing_was_reported() { require(own_counters().incidents == 0, "an incident was reported"); }
};

}  // namespace hakmem::test
