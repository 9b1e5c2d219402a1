// Visits every span that the page map knows, without a lock and while other threads go on: for audits. A span may be
// released at any moment; its record stays readable, and so do the pages of small spans and runs (at worst as zeros).
#pragma once

#include <cstdint>

#include "core/page_map.h"
#include "core/span.h"

namespace hakmem {

// True if `span` is still what the page map says for its pages.
inline bool still_there(const Span *span, std::uintptr_t start) {
    return page_map.span_of(start) == span && span->start == start;
}

// visit(Span &) for each until it returns false; false if it did. Spans that come or go meanwhile may be missed or
// seen.
template <class Visit>
bool sweep_spans(Visit visit) {
    const Span *last = nullptr;  // one may have an entry for each of several units or pages
    return page_map.for_each_entry([&](PageMap::Entry entry) {
        if (Span *span = entry.span()) {
            if (span == last) return true;
            last = span;
            return visit(*span);
        }
        if (!entry.is_region()) return true;
        Region *region = entry.region();
        for (unsigned page = 0; page < kPagesInUnit; ++page) {
            Span *span = region->page(page).span();
            if (span == nullptr || span == last) continue;
            last = span;
            if (!visit(*span)) return false;
        }
        return true;
    });
}

}  // namespace hakmem
