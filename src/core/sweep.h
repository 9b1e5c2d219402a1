// Visits every span that the page map knows, without a lock and while other threads go on: for audits. A span may be
// released at any moment; its record stays readable, and so do the pages of small spans and runs (at worst as zeros).
#pragma once

#include <cstdint>

#include "core/fault.h"
#include "core/header_byte.h"
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

// Headers of a small span: one before each slot that was cut, and one behind the last.
inline std::uint32_t headers_of(const Span &span) {
    const std::uint32_t carved = span.carved;
    return carved != 0 ? carved + 1 : 0;
}

inline bool is_header_of(std::uint8_t header, std::uint8_t size_class) {
    return header == header_byte::live(size_class) || header == header_byte::free(size_class) ||
           header == header_byte::watched(size_class);
}

// Of a run or a mapping that was handed out. True as well if it is gone.
bool large_header_holds(const Span &span);

void pause_between_looks();

// What another thread is in the middle of changing looks wrong for a moment. What stays wrong this often, with a pause
// in between, is wrong.
template <class IsWrong>
bool stays_wrong(IsWrong is_wrong) {
    constexpr unsigned kLooks = 12;
    for (unsigned look = 0; look < kLooks; ++look) {
        pause_between_looks();
        if (!is_wrong()) return false;
    }
    return true;
}

// False if the header `found` before the `index`th slot of a small span is another by now, or the span is gone: nothing
// is wrong then.
inline bool is_still_found(const Span &span, std::uintptr_t start, std::uint32_t index, std::uint8_t size_class,
                           std::uint8_t found) {
    return still_there(&span, start) && span.kind == SpanKind::small && span.size_class == size_class &&
           index < headers_of(span) && header_byte::load(pointer_to(span.slot(index))) == found;
}

// The findings about headers that nobody's free has tripped over, with the header to repair them by. Whether a block is
// free in a thread's cache takes a system call a thread to know.
Finding overwritten_small(const Span &span, std::uint32_t index, std::uint8_t found, bool look_into_caches);
Finding overwritten_large(const Span &span);

// A last look for a process without a diagnostic layer: the first header of a slot or a run that stays wrong. No system
// call where all are right. Stops after `most_ns` nanoseconds. True if there was one.
bool find_overwritten(std::uint64_t most_ns, Finding &finding);

}  // namespace hakmem
