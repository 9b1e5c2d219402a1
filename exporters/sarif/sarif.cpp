#include "sarif/sarif.h"

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "fingerprint/fingerprint.h"
#include "incident/site.h"
#include "report/kinds.h"
#include "text/text.h"
#include "version.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char *kSourceRoot = "%SRCROOT%";

// What the stacks are to a reader. `free` is named by its kind.
constexpr std::pair<Stack Incident::*, const char *> kTitles[] = {
    {&Incident::writer, "Written by"},
    {&Incident::free, nullptr},
    {&Incident::previous_free, "Freed before here"},
    {&Incident::alloc, "Allocated here"},
    {&Incident::suspect_alloc, "The suspect was allocated here"},
};
static_assert(std::size(kTitles) == std::size(kStacks));

const KindText &text_of(segment::Kind kind) { return kKindTexts[static_cast<std::size_t>(kind)]; }

const char *title_of(Stack Incident::*stack, segment::Kind kind) {
    for (const auto &[known, title] : kTitles)
        if (known == stack && title != nullptr) return title;
    return text_of(kind).free_title;
}

// A path as the path of a URI: all but unreserved characters and '/' are escaped.
std::string uri_path(std::string_view path) {
    std::string out;
    for (const char c : path) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x80 && (std::isalnum(byte) != 0 || std::string_view("/-._~+").find(c) != std::string_view::npos))
            out += c;
        else
            out += "%" + text::hex_byte(byte).substr(2);
    }
    return out;
}

class Log {
  public:
    explicit Log(const std::string &source_root)
        : root_(source_root.ends_with('/') ? source_root : source_root + "/") {}

    Json make(const std::vector<Incident> &incidents) const {
        Json results = Json::array();
        for (const Incident &incident : incidents) results.push_back(result(incident));
        Json run;
        run["tool"]["driver"] = {{"name", "hakmem"}, {"version", HAKMEM_VERSION}, {"rules", rules()}};
        run["originalUriBaseIds"][kSourceRoot]["uri"] = "file://" + uri_path(root_);
        run["columnKind"] = "utf16CodeUnits";
        run["results"] = std::move(results);
        return {{"$schema", "https://json.schemastore.org/sarif-2.1.0.json"},
                {"version", "2.1.0"},
                {"runs", Json::array({std::move(run)})}};
    }

  private:
    static Json rules() {
        Json list = Json::array();
        for (const KindText &kind : kKindTexts) {
            std::string help = kind.why;
            for (const char *step : kind.next)
                if (step != nullptr) help += std::string("\n- ") + step;
            list.push_back({{"id", segment::kKindNames[static_cast<std::size_t>(kind.kind)]},
                            {"shortDescription", {{"text", kind.title}}},
                            {"fullDescription", {{"text", std::string(kind.what) + ". " + kind.why}}},
                            {"help", {{"text", help}}},
                            {"defaultConfiguration", {{"level", "error"}}},
                            {"properties", {{"tags", {"memory", "heap"}}}}});
        }
        return list;
    }

    Json artifact(const std::string &path) const {
        if (path.starts_with(root_))
            return {{"uri", uri_path(std::string_view(path).substr(root_.size()))}, {"uriBaseId", kSourceRoot}};
        return {{"uri", (path.starts_with('/') ? "file://" : "") + uri_path(path)}};
    }

    Json location(const Frame &frame, const std::string &message) const {
        Json out, place;
        if (!frame.file.empty()) {
            place["artifactLocation"] = artifact(frame.file);
            if (frame.line != 0) place["region"] = {{"startLine", frame.line}};
        } else if (!frame.module.empty()) {
            place["artifactLocation"] = artifact(frame.module);
        }
        if (frame.pc != 0) place["address"] = {{"absoluteAddress", frame.pc}, {"kind", "instruction"}};
        if (!place.is_null()) out["physicalLocation"] = std::move(place);
        if (!frame.function.empty())
            out["logicalLocations"] =
                Json::array({{{"fullyQualifiedName", text::clean(frame.function)}, {"kind", "function"}}});
        if (!message.empty()) out["message"] = {{"text", message}};
        return out;
    }

    Json stack(const Stack &frames, const std::string &message) const {
        Json list = Json::array();
        for (const Frame &frame : frames) {
            Json out{{"location", location(frame, {})}};
            if (!frame.module.empty())
                out["module"] = text::clean(text::base_name(frame.module)) + "+" + text::hex(frame.offset);
            list.push_back(std::move(out));
        }
        return {{"message", {{"text", message}}}, {"frames", std::move(list)}};
    }

    static const Frame *own_frame(const Stack &frames) {
        const auto own = std::find_if_not(frames.begin(), frames.end(), is_runtime_frame);
        return own != frames.end() ? &*own : frames.empty() ? nullptr : &frames.front();
    }

    Json result(const Incident &incident) const {
        const KindText &kind = text_of(incident.kind);
        const Stack &main = blamed(incident);
        Json out;
        out["ruleId"] = segment::kKindNames[static_cast<std::size_t>(incident.kind)];
        out["ruleIndex"] = static_cast<std::size_t>(incident.kind);
        out["level"] = "error";
        out["message"]["text"] = message(incident, main, kind);
        out["locations"] = Json::array();
        if (const Frame *frame = own_frame(main)) out["locations"].push_back(location(*frame, {}));
        Json related = Json::array(), stacks = Json::array();
        for (const auto &[member, ignored] : kTitles) {
            const Stack &frames = incident.*member;
            if (frames.empty()) continue;
            const char *title = title_of(member, incident.kind);
            stacks.push_back(stack(frames, title));
            if (&frames != &main) related.push_back(location(*own_frame(frames), title));
        }
        if (!related.empty()) out["relatedLocations"] = std::move(related);
        if (!stacks.empty()) out["stacks"] = std::move(stacks);
        out["partialFingerprints"] = {{"hakmem/v" + std::to_string(kFingerprintVersion), incident.fingerprint}};
        out["occurrenceCount"] = std::max<std::uint64_t>(incident.count, 1);
        out["properties"] = {{"id", incident.id},
                             {"process", text::clean(incident.process)},
                             {"pid", incident.pid},
                             {"firstSeen", text::rfc3339(incident.first_ns)},
                             {"lastSeen", text::rfc3339(incident.last_ns)}};
        return out;
    }

    static std::string message(const Incident &incident, const Stack &main, const KindText &kind) {
        std::string text = std::string(kind.title) + " in " + text::clean(incident.process) + ": " + kind.what + ".";
        for (const auto &[member, ignored] : kTitles)
            if (const Stack &frames = incident.*member; &frames != &main && !frames.empty())
                text += std::string(" ") + title_of(member, incident.kind) + ": " + site(frames) + ".";
        return text;
    }

    const std::string root_;
};

}  // namespace

Json sarif(const std::vector<Incident> &incidents, const std::string &source_root) {
    return Log(source_root).make(incidents);
}

}  // namespace hakmem
