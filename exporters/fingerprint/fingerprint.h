// The fingerprint of an incident: equal for equal kind and call site, in every run, under every address layout, on
// every host that has the same build. Made of the kind and of the first few frames above the allocator's and the
// language runtime's own: module base name and function, or the module's offset where there is no function name.
#pragma once

#include <string>

#include "incident/incident.h"

namespace hakmem {

// Raised when the method changes: fingerprints of different versions never compare equal.
inline constexpr unsigned kFingerprintVersion = 1;

// 16 hex digits.
std::string fingerprint(segment::Kind kind, const Stack &stack);

// Whether a frame belongs to the allocator, libc, the C++ runtime or the loader.
bool is_runtime_frame(const Frame &frame);

}  // namespace hakmem
