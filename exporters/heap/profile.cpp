#include "heap/profile.h"

#include <nlohmann/json.hpp>

#include "text/text.h"

namespace hakmem {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

Stack HeapProfiler::symbolize(const segment::Frames &frames, const segment::Snapshot &snapshot) {
    Stack stack;
    for (const segment::Frame &frame : frames) {
        Place place{"", "", frame.pc};
        if (frame.module < snapshot.modules.size()) {
            const segment::Module &module = snapshot.modules[frame.module];
            place = {module.path, module.build_id, frame.pc - module.bias};
        }
        auto found = known_.find(place);
        if (found == known_.end()) {
            if (known_.size() >= kMaxRemembered) known_.clear();
            found = known_.emplace(place, symbolizer_.symbolize({frame}, snapshot, false)).first;
        }
        stack.insert(stack.end(), found->second.begin(), found->second.end());
    }
    return stack;
}

std::vector<HeapSite> HeapProfiler::sites(const segment::Snapshot &snapshot) {
    const std::lock_guard lock(mutex_);
    std::vector<HeapSite> sites;
    for (const segment::HeapSite &site : snapshot.heap) {
        sites.push_back({symbolize(site.stack, snapshot), site.live_bytes(), site.live_objects(), site.allocated_bytes,
                         site.allocated_objects});
    }
    return sites;
}

Json to_json(const std::vector<HeapSite> &sites) {
    Json list = Json::array();
    for (const HeapSite &site : sites) {
        Json stack = Json::array();
        for (const Frame &frame : site.stack) {
            Json out;
            out["function"] = text::clean(!frame.function.empty() ? frame.function : text::hex(frame.offset));
            if (!frame.file.empty()) out["file"] = text::clean(frame.file);
            if (frame.line != 0) out["line"] = frame.line;
            out["module"] = text::clean(frame.module);
            stack.push_back(std::move(out));
        }
        list.push_back({{"stack", std::move(stack)},
                        {"live_bytes", site.live_bytes},
                        {"live_objects", site.live_objects},
                        {"total_bytes", site.total_bytes},
                        {"total_objects", site.total_objects}});
    }
    return list;
}

}  // namespace hakmem
