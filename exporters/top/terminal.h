// The terminal as lines with styles, by ncurses: takes it over, and gives it back whatever happens.
#pragma once

#include <chrono>
#include <vector>

#include "top/view.h"

struct screen;  // ncurses's

namespace hakmem::top {

class Terminal {
  public:
    // Throws std::runtime_error where the terminal is none that ncurses knows.
    explicit Terminal(bool colour);
    ~Terminal();
    Terminal(const Terminal &) = delete;
    Terminal &operator=(const Terminal &) = delete;

    Size size() const;
    void show(const std::vector<Line> &lines);

    // Waits that long for keys, a new size or a signal that ends us, and hands keys to the view. False: time to go.
    bool wait(std::chrono::milliseconds at_most, View &view);

  private:
    ::screen *screen_;
    const bool colour_;
};

}  // namespace hakmem::top
