#include "incident/describe.h"

#include <algorithm>
#include <cstdio>

#include "fingerprint/fingerprint.h"
#include "incident/reading.h"
#include "incident/site.h"
#include "symbolize/symbolizer.h"
#include "text/text.h"

namespace hakmem {
namespace {

bool is_large(std::uint64_t bytes, const segment::Snapshot &snapshot) {
    return bytes != 0 &&
           std::find(snapshot.slot_bytes.begin(), snapshot.slot_bytes.end(), bytes) == snapshot.slot_bytes.end();
}

// What an address points to, by module and function.
std::string name_of_address(std::uint64_t address, const segment::Snapshot &snapshot, Symbolizer &symbolizer) {
    const auto holds = [address](const segment::Module &module) {
        return address >= module.begin && address < module.end;
    };
    const auto found = std::find_if(snapshot.modules.begin(), snapshot.modules.end(), holds);
    if (found == snapshot.modules.end()) return {};
    const auto index = static_cast<std::uint16_t>(found - snapshot.modules.begin());
    const Stack stack = symbolizer.symbolize({{address, index}}, snapshot, true);
    std::string name = text::clean(text::base_name(found->path));
    if (!stack.empty() && !stack.front().function.empty()) name += " (" + text::clean(stack.front().function) + ")";
    return name;
}

// The first byte that is not as it was left; empty for kinds where nothing was overwritten.
std::optional<std::uint64_t> first_bad_byte(const segment::Incident &raw) {
    using segment::Kind;
    const auto by_offset = [&raw](std::uint64_t from) { return from + static_cast<std::uint64_t>(raw.offset); };
    switch (raw.kind) {
        case Kind::header_overwritten:
        case Kind::header_write_caught:
            if (!raw.header_known) return std::nullopt;
            return raw.block - 1;
        case Kind::large_header_corrupt:
            // Which of the other 15 bytes was written can't be told: the right ones are not known.
            if (!raw.header_known || raw.header_found == raw.header_expected) return std::nullopt;
            return raw.address - 1;
        case Kind::redzone_overwritten:
            return by_offset(raw.offset < 0 ? raw.block : raw.block + raw.asked_bytes);
        case Kind::use_after_free_write:
            return by_offset(raw.block);
        default:
            return std::nullopt;
    }
}

std::string reading_of(const segment::Incident &raw, const segment::Snapshot &snapshot, Symbolizer &symbolizer) {
    const std::optional<std::uint64_t> bad = first_bad_byte(raw);
    if (!bad) return {};
    const std::uint64_t at = *bad - raw.dump_address;
    OverwrittenBytes overwritten{.bytes = raw.dump, .address = raw.dump_address, .at = at, .block = raw.block};
    if (raw.kind == segment::Kind::redzone_overwritten || raw.kind == segment::Kind::use_after_free_write) {
        if (at >= raw.dump.size()) return {};
        overwritten.found = static_cast<std::uint8_t>(raw.dump[at]);
        overwritten.fill = raw.kind == segment::Kind::redzone_overwritten ? segment::kSlackFill : segment::kFreedFill;
    } else {
        overwritten.found = raw.header_found;
    }
    return reading(overwritten, [&](std::uint64_t address) { return name_of_address(address, snapshot, symbolizer); });
}

}  // namespace

std::string incident_id(const segment::Snapshot &snapshot, const segment::Incident &raw) {
    // FNV-1a with a final mix, so that neighbours differ in their first digits and can be told apart by them.
    std::uint64_t hash = 0xcbf29ce484222325;
    const std::string name = snapshot.identity() + "/" + std::to_string(raw.record) + "/" + std::to_string(raw.key);
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    hash ^= hash >> 32;
    hash *= 0xd6e8feb86659fd93;
    hash ^= hash >> 32;
    char digits[17];
    std::snprintf(digits, sizeof digits, "%016llx", static_cast<unsigned long long>(hash));
    return digits;
}

Incident describe(const segment::Incident &raw, const segment::Snapshot &snapshot, Symbolizer &symbolizer) {
    using segment::Kind;
    Incident out;
    out.id = incident_id(snapshot, raw);
    out.segment = snapshot.identity();
    out.record = raw.record;
    out.kind = raw.kind;
    out.region = raw.region;
    out.process = snapshot.process;
    out.exe = snapshot.exe;
    out.pid = snapshot.pid;
    out.tid = raw.tid;
    out.thread = raw.thread;
    out.address = raw.address;
    out.block = raw.block;
    out.offset = raw.offset;
    out.slot_bytes = raw.slot_bytes;
    out.large = is_large(raw.slot_bytes, snapshot);
    out.asked_bytes = raw.asked_bytes;
    out.header_known = raw.header_known;
    out.header_found = raw.header_found;
    out.header_expected = raw.header_expected;
    out.dump_address = raw.dump_address;
    out.dump = raw.dump;
    out.reading = reading_of(raw, snapshot, symbolizer);
    // The access to a guard page begins at the very instruction, the rest behind one.
    out.free = symbolizer.symbolize(raw.free, snapshot, raw.kind == Kind::guard_page_access);
    out.alloc = symbolizer.symbolize(raw.alloc, snapshot, false);
    out.previous_free = symbolizer.symbolize(raw.previous_free, snapshot, false);
    out.suspect_alloc = symbolizer.symbolize(raw.suspect_alloc, snapshot, false);
    out.writer = symbolizer.symbolize(raw.writer, snapshot, false);
    out.suspect = raw.suspect;
    out.suspect_large = raw.suspect && is_large(raw.suspect->slot_bytes, snapshot);
    out.count = raw.count;
    out.first_ns = raw.first_ns;
    out.last_ns = raw.last_ns;
    out.outcome = raw.outcome;
    out.level = raw.level;
    out.fingerprint = fingerprint(raw.kind, main_stack(out));
    return out;
}

}  // namespace hakmem
