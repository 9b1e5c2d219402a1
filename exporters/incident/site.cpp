#include "incident/site.h"

#include <algorithm>

#include "fingerprint/fingerprint.h"
#include "text/text.h"

namespace hakmem {

std::string site(const Stack &stack) {
    if (stack.empty()) return "?";
    const auto own = std::find_if_not(stack.begin(), stack.end(), is_runtime_frame);
    const Frame &best = own != stack.end() ? *own : stack.front();
    if (best.function.empty()) return text::clean(text::base_name(best.module)) + "+" + text::hex(best.offset);
    std::string text = text::clean(best.function);
    if (!best.file.empty()) text += " " + text::clean(text::base_name(best.file)) + ":" + std::to_string(best.line);
    return text;
}

std::string site(const Incident &incident) { return site(incident.free.empty() ? incident.writer : incident.free); }

std::string culprit(const Incident &incident) {
    if (!incident.writer.empty()) return site(incident.writer);
    if (!incident.suspect_alloc.empty()) return site(incident.suspect_alloc);
    return {};
}

}  // namespace hakmem
