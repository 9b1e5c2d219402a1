#include "fingerprint/fingerprint.h"

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "text/text.h"

namespace hakmem {
namespace {

constexpr int kFrames = 3;

// Base names of runtime modules begin with one of these.
constexpr std::string_view kRuntimeModules[] = {"libhakmem",   "libc.so",   "libc-",        "libstdc++.so",
                                                "libgcc_s.so", "libc++.so", "libc++abi.so", "libpthread",
                                                "ld-linux",    "ld.so",     "linux-vdso",   "ld-musl"};
// What the runtime links into every program.
constexpr std::string_view kRuntimeFunctions[] = {"_start", "__libc_start_main", "__libc_csu_init", "operator delete",
                                                  "operator new"};

constexpr std::uint64_t kFnvOffset = 0xcbf29ce484222325, kFnvPrime = 0x100000001b3;

class Hash {
  public:
    void add(std::string_view part) {
        for (const char c : part) value_ = (value_ ^ static_cast<unsigned char>(c)) * kFnvPrime;
        value_ = (value_ ^ 0x1F) * kFnvPrime;  // parts do not run into each other
    }
    std::string digits() const {
        char buffer[17];
        std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(value_));
        return buffer;
    }

  private:
    std::uint64_t value_ = kFnvOffset;
};

}  // namespace

bool is_runtime_frame(const Frame &frame) {
    const std::string module = text::base_name(frame.module);
    const auto begins = [](std::string_view name) {
        return [name](std::string_view prefix) { return name.starts_with(prefix); };
    };
    return std::any_of(std::begin(kRuntimeModules), std::end(kRuntimeModules), begins(module)) ||
           std::any_of(std::begin(kRuntimeFunctions), std::end(kRuntimeFunctions), begins(frame.function));
}

std::string fingerprint(segment::Kind kind, const Stack &stack) {
    Hash hash;
    hash.add("v" + std::to_string(kFingerprintVersion));
    hash.add(segment::kKindNames[static_cast<std::size_t>(kind)]);
    const auto add_frames = [&](auto wanted) {
        int added = 0;
        for (const Frame &frame : stack) {
            // Whether a function is inlined is the compiler's choice, and known only where there is debug information:
            // the function that contains the code stands for it.
            if (frame.inlined || !wanted(frame)) continue;
            hash.add(text::base_name(frame.module));
            hash.add(frame.function.empty() ? text::hex(frame.module.empty() ? 0 : frame.offset) : frame.function);
            if (++added == kFrames) break;
        }
        return added;
    };
    // A stack of runtime frames alone still tells more than the kind.
    if (add_frames([](const Frame &frame) { return !is_runtime_frame(frame); }) == 0)
        add_frames([](const Frame &frame) { return !text::base_name(frame.module).starts_with("libhakmem"); });
    return hash.digits();
}

}  // namespace hakmem
