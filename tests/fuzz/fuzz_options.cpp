// libFuzzer: HAKMEM_OPTIONS. Whatever the text, every option is one that the table allows.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "diag/options.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    const std::string text(reinterpret_cast<const char *>(data), size);
    hakmem::Options options;
    const auto warn = [](void *, const char *line) {
        if (std::strchr(line, '\n') != nullptr) std::abort();
    };
    hakmem::parse_options(text.c_str(), options, warn, nullptr);
    const bool right = options.level <= hakmem::segment::Level::guard && options.stack_depth >= 1 &&
                       options.stack_depth <= 64 && options.sample_bytes >= 1 &&
                       strnlen(options.runtime_dir, hakmem::kMaxPath) < hakmem::kMaxPath;
    if (!right) std::abort();
    return 0;
}
