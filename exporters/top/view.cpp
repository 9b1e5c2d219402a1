#include "top/view.h"

#include <wchar.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "text/table.h"
#include "text/text.h"

namespace hakmem::top {
namespace {

constexpr std::size_t kMaxFilter = 64;
constexpr std::size_t kNameColumns = 12;  // that a process's name has at least

std::string per_second(double rate) {
    char buffer[32];
    if (rate >= 1e6)
        std::snprintf(buffer, sizeof buffer, "%.1fM", rate / 1e6);
    else if (rate >= 1e4)
        std::snprintf(buffer, sizeof buffer, "%.0fk", rate / 1e3);
    else
        std::snprintf(buffer, sizeof buffer, "%.0f", rate);
    return buffer;
}

// The columns in front of the process's name. A narrow screen goes without those of high rank.
struct Column {
    const char *title;
    std::size_t width;
    int rank;
    text::Align align;
    std::string (*cell)(const Row &row);
};
constexpr Column kColumns[] = {
    {"PID", 7, 0, text::Align::right, [](const Row &row) { return std::to_string(row.snapshot.pid); }},
    {"STATE", 7, 6, text::Align::left,
     [](const Row &row) { return std::string(row.snapshot.alive ? "running" : "ended"); }},
    {"LEVEL", 6, 4, text::Align::left,
     [](const Row &row) { return std::string(segment::kLevelNames[static_cast<std::size_t>(row.snapshot.level)]); }},
    {"ALLOC/S", 7, 3, text::Align::right, [](const Row &row) { return per_second(row.allocations); }},
    {"FREE/S", 7, 5, text::Align::right, [](const Row &row) { return per_second(row.frees); }},
    {"LIVE", 10, 2, text::Align::right,
     [](const Row &row) { return text::human_bytes(row.snapshot.counters.live_bytes()); }},
    {"MAPPED", 10, 7, text::Align::right,
     [](const Row &row) { return text::human_bytes(row.snapshot.gauges.mapped_bytes); }},
    {"THREADS", 7, 8, text::Align::right, [](const Row &row) { return std::to_string(row.snapshot.threads); }},
    {"INCIDENTS", 9, 1, text::Align::right, [](const Row &row) { return std::to_string(row.incidents); }},
};
constexpr int kLeastRank = 8;

// The highest rank of columns for which the screen has room.
int rank_for(std::size_t columns) {
    for (int rank = kLeastRank; rank > 0; --rank) {
        std::size_t width = kNameColumns;
        for (const Column &column : kColumns)
            if (column.rank <= rank) width += column.width + 1;
        if (width <= columns) return rank;
    }
    return 0;
}

std::string cells(int rank, const auto &cell, const std::string &name) {
    std::string out;
    for (const Column &column : kColumns) {
        if (column.rank > rank) continue;
        const std::string text = fit(cell(column), column.width, false);
        const std::string space(column.width - text.size(), ' ');
        out += (column.align == text::Align::right ? space + text : text + space) + " ";
    }
    return out + name;
}

std::string plural(std::uint64_t count, const char *what) {
    return std::to_string(count) + " " + what +
           (count == 1                                              ? ""
            : what[std::char_traits<char>::length(what) - 1] == 's' ? "es"
                                                                    : "s");
}

// What each key does; the bottom line has the short words of those that have one, for the list and the detail.
struct KeyHelp {
    const char *keys;
    const char *short_word;
    const char *meaning;
};
constexpr KeyHelp kKeys[] = {
    {"q", "quit", "leave; in a detail or this help: back to the list"},
    {"?", "help", "this help"},
    {"Enter", "detail", "everything about the selected process"},
    {"/", "filter", "type a part of a name, program or pid; Enter keeps it, Esc drops it"},
    {"s", "sort", "sort by the next column: incidents, live, mapped, allocations, pid, process"},
    {"r", "reverse", "turn the order round"},
    {"p", "pause", "hold the numbers; again: go on"},
    {"Up k", nullptr, "select the process above, or scroll"},
    {"Down j", nullptr, "select the process below, or scroll"},
    {"PgUp PgDn", nullptr, "by a screen"},
    {"Home End", nullptr, "to the first or the last"},
    {"Esc", nullptr, "back to the list"},
};

template <std::size_t N>
void add_counts(std::vector<Line> &lines, const char *title, const std::array<std::uint64_t, N> &values,
                const char *const (&names)[N]) {
    lines.push_back({title, Style::bold});
    for (std::size_t i = 0; i < N; ++i) {
        char buffer[96];
        std::snprintf(buffer, sizeof buffer, "  %-26s %14llu", names[i], static_cast<unsigned long long>(values[i]));
        lines.push_back({buffer, Style::plain});
    }
}

}  // namespace

std::string fit(const std::string &text, std::size_t columns, bool pad) {
    std::string out;
    std::size_t used = 0;
    for (std::size_t at = 0; at < text.size();) {
        std::size_t length = 1;
        while (at + length < text.size() && (static_cast<unsigned char>(text[at + length]) & 0xC0) == 0x80) ++length;
        wchar_t wide = 0;
        std::mbstate_t state{};
        const bool known = std::mbrtowc(&wide, text.data() + at, length, &state) == length;
        const int width = known ? ::wcwidth(wide) : 1;
        const std::size_t takes = width < 0 ? 1 : static_cast<std::size_t>(width);
        if (used + takes > columns) break;
        out += text.substr(at, length);
        used += takes;
        at += length;
    }
    if (pad) out += std::string(columns - used, ' ');
    return out;
}

std::size_t View::selected_index(const std::vector<const Row *> &rows) const {
    const auto found =
        std::find_if(rows.begin(), rows.end(), [&](const Row *row) { return row->identity == selected_; });
    if (found != rows.end()) return static_cast<std::size_t>(found - rows.begin());
    return rows.empty() ? 0 : std::min(at_, rows.size() - 1);
}

Line View::status() const {
    std::uint64_t incidents = 0, live = 0;
    for (const Row &row : model_.rows()) {
        incidents += row.incidents;
        if (row.snapshot.alive) live += row.snapshot.counters.live_bytes();
    }
    std::string text = "hakmem top  " + plural(model_.rows().size(), "process") + "  " + plural(incidents, "incident") +
                       "  " + text::human_bytes(live) + " live  by " + kSortNames[static_cast<std::size_t>(sort_)] +
                       (reverse_ ? " (reversed)" : "");
    if (paused_) text += "  PAUSED";
    return {std::move(text), incidents != 0 ? Style::alarm : Style::bold};
}

Line View::keys() const {
    if (typing_) return {"Filter: " + filter_ + "_   Enter keep  Esc drop", Style::head};
    std::string text;
    for (const KeyHelp &key : kKeys)
        if (key.short_word != nullptr && (page_ == Page::list || &key - kKeys < 2))
            text += std::string(text.empty() ? "" : "  ") + key.keys + " " +
                    (page_ != Page::list && &key == kKeys ? "back" : key.short_word);
    if (page_ != Page::list) text += "  Up Down scroll";
    if (!filter_.empty()) text = "Filter: " + text::clean(filter_) + "  " + text;
    return {std::move(text), Style::head};
}

std::vector<Line> View::list(Size size) {
    std::vector<Line> lines;
    // What a small screen goes without: the status first, then the keys, then the titles.
    const bool has_status = size.rows >= 4, has_keys = size.rows >= 3, has_titles = size.rows >= 2;
    const std::size_t room = size.rows - has_status - has_keys - has_titles;
    page_rows_ = std::max<std::size_t>(room, 1);
    const std::vector<const Row *> all = rows();
    const std::size_t selected = selected_index(all);
    if (!all.empty()) {
        selected_ = all[selected]->identity;
        at_ = selected;
    }
    first_ = std::min(first_, selected);
    if (room > 0 && selected >= first_ + room) first_ = selected - room + 1;
    if (all.size() <= room) first_ = 0;

    const int rank = rank_for(size.columns);
    if (has_status) lines.push_back(status());
    if (has_titles) {
        lines.push_back({cells(
                             rank, [](const Column &column) { return std::string(column.title); }, "PROCESS"),
                         Style::head});
    }
    for (std::size_t i = first_; i < all.size() && i - first_ < room; ++i) {
        const Row &row = *all[i];
        const Style style = i == selected           ? Style::selected
                            : row.new_incidents > 0 ? Style::alarm
                            : row.incidents > 0     ? Style::bold
                            : row.snapshot.alive    ? Style::plain
                                                    : Style::dim;
        lines.push_back({cells(
                             rank, [&row](const Column &column) { return column.cell(row); }, row.process),
                         style});
    }
    if (all.empty() && room > 0)
        lines.push_back({filter_.empty() ? "No process is watched: start one with `hakmem run -- COMMAND`."
                                         : "No process matches the filter.",
                         Style::dim});
    if (has_keys) {
        lines.resize(size.rows - 1);
        lines.push_back(keys());
    }
    return lines;
}

std::vector<Line> View::help() {
    std::vector<Line> lines{{"Keys", Style::bold}};
    for (const KeyHelp &key : kKeys) lines.push_back({"  " + fit(key.keys, 11, true) + key.meaning, Style::plain});
    lines.push_back({"", Style::plain});
    lines.push_back(
        {"ALLOC/S and FREE/S are since the last reading. A red line: new incidents since then.", Style::dim});
    return lines;
}

std::vector<Line> View::detail() const {
    const auto &all = model_.rows();
    const auto found = std::find_if(all.begin(), all.end(), [&](const Row &row) { return row.identity == selected_; });
    if (found == all.end()) return {{"The process is gone, and its segment with it.", Style::dim}};
    const Row &row = *found;
    const segment::Snapshot &process = row.snapshot;
    const segment::Counters &counters = process.counters;
    std::vector<Line> lines;
    const auto fact = [&](const char *name, const std::string &value) {
        lines.push_back({fit(name, 12, true) + value, Style::plain});
    };
    lines.push_back(
        {row.process + ", pid " + std::to_string(process.pid) + (process.alive ? "" : ", ended"), Style::bold});
    fact("program", text::clean(process.exe));
    fact("level", segment::kLevelNames[static_cast<std::size_t>(process.level)]);
    fact("since", text::rfc3339(process.start_time_ns).substr(0, 19) + "Z");
    fact("threads", std::to_string(process.threads));
    fact("live", text::human_bytes(counters.live_bytes()));
    fact("mapped", text::human_bytes(process.gauges.mapped_bytes));
    fact("cached", text::human_bytes(process.cached_bytes()));
    fact("quarantine", text::human_bytes(process.gauges.quarantine_bytes));
    fact("alloc/s", per_second(row.allocations));
    fact("free/s", per_second(row.frees));
    fact("audits", std::to_string(counters.audits));
    lines.push_back({"", Style::plain});
    if (row.incidents == 0) {
        lines.push_back({"No incident", Style::bold});
    } else {
        lines.push_back(
            {plural(row.incidents, "incident") + ": hakmem incidents list --process " + row.process, Style::alarm});
        for (std::size_t i = 0; i < segment::kKinds; ++i)
            if (counters.incidents[i] != 0)
                lines.push_back({"  " + fit(segment::kKindNames[i], 27, true) + std::to_string(counters.incidents[i]) +
                                     ", last " + text::rfc3339(counters.last_incident_ns[i]).substr(0, 19) + "Z",
                                 Style::plain});
    }
    add_counts(lines, "Frees by path", counters.free_path, segment::kFreePathNames);
    add_counts(lines, "Slow path by reason", counters.slow_path, segment::kSlowReasonNames);
    add_counts(lines, "Invalid headers", counters.header_invalid, segment::kHeaderInvalidNames);
    add_counts(lines, "mincore calls", counters.mincore_calls, segment::kMincoreResultNames);
    lines.push_back({"      SIZE    ALLOCATIONS          FREES           LIVE", Style::head});
    for (unsigned i = 0; i < segment::kCounterRow; ++i) {
        if (counters.allocations[i] == 0 && counters.frees[i] == 0) continue;
        char buffer[96];
        std::snprintf(buffer, sizeof buffer, "%10s %14llu %14llu %14llu",
                      i == segment::kSizeClasses ? "large" : std::to_string(process.slot_bytes[i]).c_str(),
                      static_cast<unsigned long long>(counters.allocations[i]),
                      static_cast<unsigned long long>(counters.frees[i]),
                      static_cast<unsigned long long>(counters.live_blocks(i)));
        lines.push_back({buffer, Style::plain});
    }
    return lines;
}

std::vector<Line> View::scrolled(std::vector<Line> lines, Size size) {
    const bool has_keys = size.rows >= 3;
    const std::size_t room = size.rows - has_keys;
    page_rows_ = std::max<std::size_t>(room, 1);
    scroll_ = std::min(scroll_, lines.size() > room ? lines.size() - room : 0);
    lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(scroll_));
    lines.resize(std::min(lines.size(), room));
    if (has_keys) {
        lines.resize(room);
        lines.push_back(keys());
    }
    return lines;
}

std::vector<Line> View::draw(Size size) {
    if (size.rows == 0 || size.columns == 0) return {};
    std::vector<Line> lines = page_ == Page::list   ? list(size)
                              : page_ == Page::help ? scrolled(help(), size)
                                                    : scrolled(detail(), size);
    for (Line &line : lines)
        line.text = fit(line.text, size.columns, line.style == Style::head || line.style == Style::selected);
    return lines;
}

void View::move(std::ptrdiff_t by) {
    const auto moved = [by](std::size_t from, std::size_t most) {
        const auto to = static_cast<std::ptrdiff_t>(from) + by;
        return std::min(static_cast<std::size_t>(std::max<std::ptrdiff_t>(to, 0)), most);
    };
    if (page_ != Page::list) {
        constexpr std::size_t kFar = 100'000;  // drawing knows how far there is to go
        scroll_ = moved(scroll_, kFar);
        return;
    }
    const std::vector<const Row *> all = rows();
    if (all.empty()) return;
    at_ = moved(selected_index(all), all.size() - 1);
    selected_ = all[at_]->identity;
}

void View::press(Key key) {
    constexpr std::ptrdiff_t kAll = 1'000'000;
    const auto page = static_cast<std::ptrdiff_t>(page_rows_);
    switch (key) {
        case Key::up:
            return move(-1);
        case Key::down:
            return move(1);
        case Key::page_up:
            return move(-page);
        case Key::page_down:
            return move(page);
        case Key::home:
            return move(-kAll);
        case Key::end:
            return move(kAll);
        case Key::enter:
            if (!typing_ && page_ == Page::list && !rows().empty()) {
                move(0);  // selects one if none is
                page_ = Page::detail;
                scroll_ = 0;
            }
            typing_ = false;
            return;
        case Key::escape:
            if (typing_ || page_ == Page::list) filter_.clear();
            typing_ = false;
            page_ = Page::list;
            return;
        case Key::backspace:
            if (!typing_) return;
            while (!filter_.empty() && (static_cast<unsigned char>(filter_.back()) & 0xC0) == 0x80) filter_.pop_back();
            if (!filter_.empty()) filter_.pop_back();
            return;
    }
}

void View::type(char character) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte >= 0x20 && byte != 0x7F && filter_.size() < kMaxFilter) filter_ += character;
}

void View::press(char character) {
    if (typing_) return type(character);
    switch (character) {
        case 'q':
            if (page_ == Page::list) over_ = true;
            page_ = Page::list;
            return;
        case '?':
        case 'h':
            page_ = Page::help;
            scroll_ = 0;
            return;
        case '/':
            page_ = Page::list;
            typing_ = true;
            return;
        case 's':
            sort_ = static_cast<Sort>((static_cast<std::size_t>(sort_) + 1) % std::size(kSortNames));
            return;
        case 'r':
            reverse_ = !reverse_;
            return;
        case 'p':
            paused_ = !paused_;
            return;
        case 'j':
            return move(1);
        case 'k':
            return move(-1);
        default:
            return;
    }
}

std::string View::table() const {
    std::vector<text::Table::Column> columns;
    for (const Column &column : kColumns) columns.push_back({column.title, column.align});
    columns.push_back({"PROCESS", text::Align::left});
    text::Table table(std::move(columns));
    for (const Row *row : rows()) {
        std::vector<std::string> texts;
        for (const Column &column : kColumns) texts.push_back(column.cell(*row));
        texts.push_back(row->process);
        table.add(std::move(texts));
    }
    return table.text();
}

}  // namespace hakmem::top
