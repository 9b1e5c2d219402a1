// Made-up incidents that look like those of real services, for tests on many. Those of the first fingerprint carry
// hostile names: markup where a browser might take it for its own, and a source path that is none of a source file.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "incident/incident.h"

namespace hakmem::made {

using segment::Kind;

inline constexpr std::uint64_t kNsPerSecond = 1'000'000'000;
inline constexpr std::uint64_t kSpanSeconds = 30 * 86'400;  // incidents lie in the last thirty days
inline constexpr unsigned kProcesses = 23;
inline constexpr unsigned kFrames = 12;
inline constexpr const char *kScript = "<script>window.hacked=1</script>";
inline constexpr const char *kImage = "<img src=x onerror=\"window.hacked=2\">";

inline std::string hash(std::uint64_t value) {
    value = (value + 0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 31)) * 0x94d049bb133111eb;
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(value ^ (value >> 29)));
    return digits;
}

inline Stack stack_of(unsigned fingerprint, const char *what, unsigned line) {
    Stack stack;
    for (unsigned i = 0; i < kFrames; ++i) {
        Frame frame;
        frame.pc = 0x55d0'0000'1000 + fingerprint * 0x1000 + i * 0x40;
        frame.module = "/usr/bin/service";
        frame.build_id = "00112233445566778899aabbccddeeff00112233";
        frame.offset = 0x1000 + fingerprint * 0x1000 + i * 0x40;
        const std::string part = std::to_string(fingerprint % 90 + i);
        frame.function =
            "svc::Module" + part + "::" + what + "_" + std::to_string(fingerprint) + "(svc::Request const&)";
        frame.file = "/usr/src/service/module" + part + ".cpp";
        frame.line = line + i;
        stack.push_back(std::move(frame));
    }
    return stack;
}

inline Incident make(unsigned number, unsigned fingerprints, std::uint64_t now_ns) {
    const unsigned print = number % fingerprints;
    Incident incident;
    incident.id = hash(number);
    incident.segment = "made-" + std::to_string(number);
    incident.fingerprint = hash(1'000'000'007ULL + print);
    incident.kind = static_cast<Kind>(print % segment::kKinds);
    if (incident.kind == Kind::foreign_pointer) incident.region = segment::AddressRegion::stack;
    incident.process = "service-" + std::to_string(print % kProcesses);
    incident.exe = "/usr/bin/service";
    incident.pid = 10'000 + number;
    incident.tid = 10'000 + number;
    incident.thread = "worker";
    incident.address = 0x7f00'0000'1040;
    incident.block = incident.address;
    incident.slot_bytes = 64;
    incident.asked_bytes = 60;
    incident.header_known = true;
    incident.header_found = 0x41;
    incident.header_expected = 0xA3;
    incident.dump_address = incident.block - 16;
    incident.dump = std::string("name=Ada Lovela") + "A" + std::string("second block....");
    incident.free = stack_of(print, "release", 40);
    incident.alloc = stack_of(print, "make", 80);
    incident.suspect = segment::Suspect{incident.block - 64, 64, segment::SlotState::in_use};
    incident.suspect_alloc = stack_of(print, "copy_name", 120);
    incident.count = 1 + number % 97;
    incident.last_ns = now_ns - (std::uint64_t{number} * 7919 % kSpanSeconds) * kNsPerSecond;
    incident.first_ns = incident.last_ns - 3600 * kNsPerSecond;
    incident.outcome = segment::HeaderInvalid::rejected;
    if (print == 0) {
        incident.process = kScript;
        incident.thread = kImage;
        incident.exe = std::string("/tmp/") + kScript;
        incident.free[0].function = std::string(kImage) + "::free()";
        incident.free[0].file = std::string("/tmp/") + kImage + ".cpp";
        incident.free[0].module = std::string("/tmp/") + kScript;
        incident.free[1].file = "/etc/passwd";
        incident.free[1].line = 1;
        incident.free[2].note = kImage;
        incident.last_ns = now_ns - number;  // the newest: on top of every list
    }
    return incident;
}

}  // namespace hakmem::made
