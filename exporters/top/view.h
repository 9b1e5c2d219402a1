// What `hakmem top` shows of its model and how keys change that: lines of text for a screen of any size. Knows nothing
// of a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "top/model.h"

namespace hakmem::top {

enum class Style { plain, bold, head, alarm, dim, selected };

struct Line {
    std::string text;  // no wider than the screen
    Style style = Style::plain;
};

struct Size {
    std::size_t columns = 80;
    std::size_t rows = 24;
};

enum class Key { up, down, page_up, page_down, home, end, enter, escape, backspace };

class View {
  public:
    explicit View(const Model &model) : model_(model) {}

    void sort_by(Sort sort) { sort_ = sort; }
    void filter_by(std::string filter) { filter_ = std::move(filter); }

    // At most as many lines as the screen has rows. Remembers the size for keys that move by pages.
    std::vector<Line> draw(Size size);

    void press(Key key);
    void press(char character);

    bool paused() const { return paused_; }
    bool over() const { return over_; }

    // All rows as a table, for a pipe.
    std::string table() const;

  private:
    enum class Page { list, detail, help };

    std::vector<const Row *> rows() const { return model_.sorted(sort_, reverse_, filter_); }
    std::size_t selected_index(const std::vector<const Row *> &rows) const;
    void move(std::ptrdiff_t by);
    void type(char character);
    std::vector<Line> list(Size size);
    std::vector<Line> detail() const;
    static std::vector<Line> help();
    std::vector<Line> scrolled(std::vector<Line> lines, Size size);
    Line status() const;
    Line keys() const;

    const Model &model_;
    Page page_ = Page::list;
    Sort sort_ = Sort::incidents;
    bool reverse_ = false;
    bool typing_ = false;  // the filter
    bool paused_ = false;
    bool over_ = false;
    std::string filter_;
    std::string selected_;    // a row's identity
    std::size_t at_ = 0;      // where it was last, should it be gone
    std::size_t first_ = 0;   // row of the list that is on top
    std::size_t scroll_ = 0;  // lines of another page that are above the screen
    std::size_t page_rows_ = 20;
};

// The first `columns` columns of a text as terminals count them, filled up with spaces where `pad`.
std::string fit(const std::string &text, std::size_t columns, bool pad);

}  // namespace hakmem::top
