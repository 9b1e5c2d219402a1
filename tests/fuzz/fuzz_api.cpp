// libFuzzer: sequences of calls in up to four threads (api_model.h), at levels that change, with AddressSanitizer and
// UndefinedBehaviorSanitizer in the allocator's own code. The first byte says in how many threads.
#include <string>

#include "diagnostic_calls.h"

extern "C" int LLVMFuzzerInitialize(int *, char ***) {
    // Under the runner's folder, which is the runner's to remove.
    const char *root = getenv("TMPDIR");
    std::string folder = std::string(root != nullptr ? root : "/tmp") + "/segments-XXXXXX";
    hakmem::test::require(mkdtemp(folder.data()) != nullptr, "no folder");
    hakmem::test::DiagnosticCalls::start(folder.c_str(), "sample_bytes=300:guard_sample=20:quarantine_bytes=100000");
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    using namespace hakmem::test;
    using Model = ApiModel<Diagnostic, DiagnosticCalls>;
    if (size == 0) return 0;
    Model::run(data + 1, size - 1, 1 + data[0] % Model::kMaxThreads);
    DiagnosticCalls::nothing_was_reported();
    return 0;
}
