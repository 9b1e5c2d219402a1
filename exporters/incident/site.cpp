#include "incident/site.h"

#include <algorithm>

#include "fingerprint/fingerprint.h"
#include "text/text.h"

namespace hakmem {

namespace {

const Frame &best_frame(const Stack &stack) {
    const auto own = std::find_if_not(stack.begin(), stack.end(), is_runtime_frame);
    return own != stack.end() ? *own : stack.front();
}

}  // namespace

std::string site(const Stack &stack) {
    if (stack.empty()) return kNoSite;
    const Frame &best = best_frame(stack);
    if (best.function.empty()) return text::clean(text::base_name(best.module)) + "+" + text::hex(best.offset);
    std::string text = text::clean(best.function);
    if (!best.file.empty()) text += " " + text::clean(text::base_name(best.file)) + ":" + std::to_string(best.line);
    return text;
}

const Stack &main_stack(const Incident &incident) {
    if (incident.kind == segment::Kind::header_write_caught && !incident.writer.empty()) return incident.writer;
    for (const Stack *stack : {&incident.free, &incident.writer, &incident.suspect_alloc, &incident.previous_free})
        if (!stack->empty()) return *stack;
    return incident.alloc;
}

std::string site(const Incident &incident) { return site(main_stack(incident)); }

Frame site_frame(const Incident &incident) {
    const Stack &stack = main_stack(incident);
    return stack.empty() ? Frame() : best_frame(stack);
}

const Stack &blamed(const Incident &incident) {
    using segment::Kind;
    const Stack &found = incident.free.empty() ? incident.writer : incident.free;
    const auto or_found = [&](const Stack &stack) -> const Stack & { return stack.empty() ? found : stack; };
    if (!incident.writer.empty()) return incident.writer;
    switch (incident.kind) {
        case Kind::header_overwritten:
        case Kind::header_write_caught:
            return or_found(incident.suspect_alloc);
        case Kind::redzone_overwritten:
        case Kind::large_header_corrupt:
            return or_found(incident.alloc);
        case Kind::use_after_free_write:
            return or_found(incident.previous_free);
        default:
            return found;
    }
}

std::string caller(const Incident &incident) {
    const Stack &stack = main_stack(incident);
    const auto own = std::find_if_not(stack.begin(), stack.end(), is_runtime_frame);
    const auto next = own != stack.end() ? std::find_if_not(own + 1, stack.end(), is_runtime_frame) : own;
    return next != stack.end() ? text::clean(next->function) : std::string();
}

std::string other_site(const Incident &incident) {
    using segment::Kind;
    const auto where = [](const Stack &stack) { return stack.empty() ? std::string() : site(stack); };
    switch (incident.kind) {
        case Kind::double_free:
        case Kind::use_after_free_write:
            return where(incident.previous_free);
        case Kind::header_overwritten:
        case Kind::header_write_caught:
            return where(incident.writer.empty() || incident.free.empty() ? incident.suspect_alloc : incident.writer);
        case Kind::interior_pointer:
        case Kind::large_header_corrupt:
        case Kind::redzone_overwritten:
        case Kind::guard_page_access:
        case Kind::alloc_dealloc_mismatch:
        case Kind::size_mismatch:
            return where(incident.alloc);
        case Kind::foreign_pointer:
            break;
    }
    return {};
}

}  // namespace hakmem
