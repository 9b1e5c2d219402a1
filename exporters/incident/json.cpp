#include "incident/json.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "text/text.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

Json size_class(std::uint64_t bytes, bool large) {
    if (bytes == 0) return nullptr;
    if (large) return "large";
    return bytes;
}

Json frames(const Stack &stack) {
    Json list = Json::array();
    for (const Frame &frame : stack) {
        Json out;
        out["pc"] = text::hex(frame.pc);
        out["module"] = text::clean(frame.module);
        out["build_id"] = frame.build_id;
        out["offset"] = text::hex(frame.offset);
        if (!frame.function.empty()) out["function"] = text::clean(frame.function);
        if (!frame.file.empty()) out["file"] = text::clean(frame.file);
        if (frame.line != 0) out["line"] = frame.line;
        if (frame.inlined) out["inlined"] = true;
        if (!frame.note.empty()) out["note"] = text::clean(frame.note);
        if (!frame.debug_file.empty()) out["debug_file"] = frame.debug_file;
        list.push_back(std::move(out));
    }
    return list;
}

std::uint64_t number_of_hex(const Json &value) { return std::stoull(value.get<std::string>(), nullptr, 16); }

Stack stack_of(const Json &list) {
    Stack stack;
    for (const Json &in : list) {
        Frame frame;
        frame.pc = number_of_hex(in.at("pc"));
        frame.module = in.at("module");
        frame.build_id = in.at("build_id");
        frame.offset = number_of_hex(in.at("offset"));
        frame.function = in.value("function", "");
        frame.file = in.value("file", "");
        frame.line = in.value("line", 0U);
        frame.inlined = in.value("inlined", false);
        frame.note = in.value("note", "");
        frame.debug_file = in.value("debug_file", "");
        stack.push_back(std::move(frame));
    }
    return stack;
}

template <class Enum, std::size_t N>
Enum enum_of(const std::string &name, const char *const (&names)[N]) {
    const auto found = std::find(std::begin(names), std::end(names), name);
    if (found == std::end(names)) throw std::invalid_argument(name);
    return static_cast<Enum>(found - std::begin(names));
}

template <class Enum, std::size_t N>
const char *name_of(Enum value, const char *const (&names)[N]) {
    return names[static_cast<std::size_t>(value)];
}

bool is_large(const Json &size_class) { return size_class.is_string(); }

Incident from(const Json &in) {
    Incident incident;
    incident.id = in.at("id");
    incident.fingerprint = in.at("fingerprint");
    incident.kind = enum_of<segment::Kind>(in.at("kind"), segment::kKindNames);
    incident.region = enum_of<segment::AddressRegion>(in.value("region", ""), segment::kAddressRegionNames);
    incident.process = in.at("process");
    incident.exe = in.at("exe");
    incident.pid = in.at("pid");
    incident.tid = in.at("tid");
    incident.thread = in.at("thread");
    incident.address = number_of_hex(in.at("address"));
    incident.large = is_large(in.at("size_class"));
    incident.slot_bytes = in.value("block_bytes", std::uint64_t{0});
    incident.asked_bytes = in.value("asked_bytes", std::uint64_t{0});
    if (in.contains("block")) incident.block = number_of_hex(in.at("block"));
    incident.offset = in.at("offset");
    if (const Json &header = in.at("header"); !header.is_null()) {
        incident.header_known = true;
        incident.header_found = static_cast<std::uint8_t>(number_of_hex(header.at("found")));
        incident.header_expected = static_cast<std::uint8_t>(number_of_hex(header.at("expected")));
    }
    if (const Json &dump = in.at("dump"); !dump.is_null()) {
        incident.dump_address = number_of_hex(dump.at("address"));
        incident.dump = text::unhex_bytes(dump.at("bytes").get<std::string>());
    }
    incident.reading = in.value("reading", "");
    for (const StackName &entry : kStacks)
        if (in.at("stacks").contains(entry.name)) incident.*entry.stack = stack_of(in.at("stacks").at(entry.name));
    if (in.contains("suspect")) {
        const Json &suspect = in.at("suspect");
        incident.suspect =
            segment::Suspect{number_of_hex(suspect.at("address")), suspect.value("block_bytes", std::uint64_t{0}),
                             enum_of<segment::SlotState>(suspect.at("state"), segment::kSlotStateNames)};
        incident.suspect_large = is_large(suspect.at("size_class"));
    }
    incident.count = in.at("count");
    incident.first_ns = text::parse_time(in.at("first_seen").get<std::string>()).value_or(0);
    incident.last_ns = text::parse_time(in.at("last_seen").get<std::string>()).value_or(0);
    if (const Json &outcome = in.at("outcome"); !outcome.is_null())
        incident.outcome = enum_of<segment::HeaderInvalid>(outcome, segment::kHeaderInvalidNames);
    incident.level = enum_of<segment::Level>(in.at("level"), segment::kLevelNames);
    return incident;
}

}  // namespace

Json to_json(const Incident &incident) {
    Json out;
    out["id"] = incident.id;
    out["time"] = text::rfc3339(incident.first_ns);
    out["kind"] = name_of(incident.kind, segment::kKindNames);
    if (incident.region != segment::AddressRegion::none)
        out["region"] = name_of(incident.region, segment::kAddressRegionNames);
    out["process"] = text::clean(incident.process);
    out["exe"] = text::clean(incident.exe);
    out["pid"] = incident.pid;
    out["tid"] = incident.tid;
    out["thread"] = text::clean(incident.thread);
    out["address"] = text::hex(incident.address);
    out["size_class"] = size_class(incident.slot_bytes, incident.large);
    if (incident.slot_bytes != 0) out["block_bytes"] = incident.slot_bytes;
    if (incident.asked_bytes != 0) out["asked_bytes"] = incident.asked_bytes;
    if (incident.block != 0) out["block"] = text::hex(incident.block);
    out["offset"] = incident.offset;
    if (incident.header_known)
        out["header"] = {{"found", text::hex_byte(incident.header_found)},
                         {"expected", text::hex_byte(incident.header_expected)}};
    else
        out["header"] = nullptr;
    if (!incident.dump.empty())
        out["dump"] = {{"address", text::hex(incident.dump_address)}, {"bytes", text::hex_bytes(incident.dump)}};
    else
        out["dump"] = nullptr;
    if (!incident.reading.empty()) out["reading"] = text::clean(incident.reading);
    Json &stacks = out["stacks"] = Json::object();
    for (const StackName &entry : kStacks)
        if (const Stack &stack = incident.*entry.stack; !stack.empty() || entry.stack == &Incident::free)
            stacks[entry.name] = frames(stack);
    if (incident.suspect) {
        Json &suspect = out["suspect"];
        suspect["address"] = text::hex(incident.suspect->address);
        suspect["size_class"] = size_class(incident.suspect->slot_bytes, incident.suspect_large);
        suspect["block_bytes"] = incident.suspect->slot_bytes;
        suspect["state"] = name_of(incident.suspect->state, segment::kSlotStateNames);
    }
    out["fingerprint"] = incident.fingerprint;
    out["count"] = incident.count;
    out["first_seen"] = text::rfc3339(incident.first_ns);
    out["last_seen"] = text::rfc3339(incident.last_ns);
    if (incident.outcome)
        out["outcome"] = name_of(*incident.outcome, segment::kHeaderInvalidNames);
    else
        out["outcome"] = nullptr;
    out["level"] = name_of(incident.level, segment::kLevelNames);
    return out;
}

std::string to_json_text(const Incident &incident) { return to_json(incident).dump(); }

std::optional<Incident> incident_from_json(const std::string &text) {
    try {
        return from(Json::parse(text));
    } catch (const std::exception &) {  // not JSON, a missing field or one of another type
        return std::nullopt;
    }
}

}  // namespace hakmem
