#include "incident/describe.h"

#include <algorithm>
#include <cstdio>

#include "fingerprint/fingerprint.h"
#include "symbolize/symbolizer.h"

namespace hakmem {
namespace {

bool is_large(std::uint64_t bytes, const segment::Snapshot &snapshot) {
    return bytes != 0 &&
           std::find(snapshot.slot_bytes.begin(), snapshot.slot_bytes.end(), bytes) == snapshot.slot_bytes.end();
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
    const bool by_writer = raw.kind == Kind::header_write_caught || out.free.empty();
    out.fingerprint = fingerprint(raw.kind, by_writer ? out.writer : out.free);
    return out;
}

}  // namespace hakmem
