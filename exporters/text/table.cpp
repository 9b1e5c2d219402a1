#include "text/table.h"

#include <algorithm>

namespace hakmem::text {
namespace {

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width(const std::string &cell) {
    return static_cast<std::size_t>(
        std::count_if(cell.begin(), cell.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string Table::text() const {
    std::vector<std::size_t> widths;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
        widths.push_back(width(columns_[i].title));
        for (const auto &row : rows_) widths[i] = std::max(widths[i], width(row[i]));
    }
    std::string out;
    const auto put = [&](std::size_t column, const std::string &cell) {
        const std::string space(widths[column] - width(cell), ' ');
        const bool last = column + 1 == columns_.size();
        out += columns_[column].align == Align::right ? space + cell : last ? cell : cell + space;
        out += last ? "\n" : "  ";
    };
    for (std::size_t i = 0; i < columns_.size(); ++i) put(i, columns_[i].title);
    for (const auto &row : rows_)
        for (std::size_t i = 0; i < columns_.size(); ++i) put(i, row[i]);
    return out;
}

}  // namespace hakmem::text
