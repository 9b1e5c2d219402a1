#include "top/terminal.h"

#include <langinfo.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstring>
#include <stdexcept>

#define NCURSES_NOMACROS 1
#include <curses.h>

namespace hakmem::top {
namespace {

constexpr int kEscapeDelay = 25;  // ms that the bytes of one key may lie apart
constexpr int kEndSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
constexpr short kRedPair = 1;

volatile std::sig_atomic_t end_signal = 0;

void note_end(int number) { end_signal = number; }

attr_t attributes_of(Style style, bool colour) {
    switch (style) {
        case Style::plain:
            return A_NORMAL;
        case Style::bold:
            return A_BOLD;
        case Style::head:
            return A_REVERSE;
        case Style::alarm:
            return A_BOLD | (colour ? COLOR_PAIR(kRedPair) : A_UNDERLINE);
        case Style::dim:
            return A_DIM;
        case Style::selected:
            return A_REVERSE | A_BOLD;
    }
    return A_NORMAL;
}

// What a terminal without UTF-8 can show of it.
std::string ascii(std::string text) {
    for (char &c : text)
        if (static_cast<unsigned char>(c) >= 0x80) c = '?';
    return text;
}

bool is_utf8() { return std::strcmp(nl_langinfo(CODESET), "UTF-8") == 0; }

}  // namespace

Terminal::Terminal(bool colour) : colour_(colour) {
    std::setlocale(LC_CTYPE, "");
    screen_ = newterm(nullptr, stdout, stdin);
    if (screen_ == nullptr)
        throw std::runtime_error("this terminal cannot be drawn on (TERM); `hakmem top --once` prints instead");
    // Ours, not those that ncurses has set: the destructor gives the terminal back.
    struct sigaction action {};
    action.sa_handler = note_end;
    for (const int number : kEndSignals) ::sigaction(number, &action, nullptr);
    // Delivered while waiting and at no other time.
    sigset_t waited_for;
    sigemptyset(&waited_for);
    for (const int number : kEndSignals) sigaddset(&waited_for, number);
    sigaddset(&waited_for, SIGWINCH);
    ::sigprocmask(SIG_BLOCK, &waited_for, nullptr);
    set_escdelay(kEscapeDelay);
    cbreak();
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    if (colour_ && has_colors()) {
        start_color();
        use_default_colors();
        init_pair(kRedPair, COLOR_RED, -1);
    }
}

Terminal::~Terminal() {
    endwin();
    delscreen(screen_);
}

Size Terminal::size() const {
    return {static_cast<std::size_t>(std::max(getmaxx(stdscr), 0)),
            static_cast<std::size_t>(std::max(getmaxy(stdscr), 0))};
}

void Terminal::show(const std::vector<Line> &lines) {
    erase();
    int row = 0;
    for (const Line &line : lines) {
        attrset(static_cast<int>(attributes_of(line.style, colour_ && has_colors())));
        const std::string text = is_utf8() ? line.text : ascii(line.text);
        mvaddstr(row++, 0, text.c_str());
    }
    attrset(A_NORMAL);
    refresh();
}

bool Terminal::wait(std::chrono::milliseconds at_most, View &view) {
    pollfd input{STDIN_FILENO, POLLIN, 0};
    const timespec time{at_most.count() / 1000, at_most.count() % 1000 * 1'000'000};
    sigset_t none;
    sigemptyset(&none);
    const int ready = ::ppoll(&input, 1, &time, &none);
    if (end_signal != 0 || (ready > 0 && (input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)) return false;
    for (int key = getch(); key != ERR && !view.over(); key = getch()) {
        switch (key) {
            case KEY_UP:
                view.press(Key::up);
                break;
            case KEY_DOWN:
                view.press(Key::down);
                break;
            case KEY_PPAGE:
                view.press(Key::page_up);
                break;
            case KEY_NPAGE:
                view.press(Key::page_down);
                break;
            case KEY_HOME:
                view.press(Key::home);
                break;
            case KEY_END:
                view.press(Key::end);
                break;
            case '\r':
            case '\n':
            case KEY_ENTER:
                view.press(Key::enter);
                break;
            case 27:
                view.press(Key::escape);
                break;
            case 127:
            case '\b':
            case KEY_BACKSPACE:
                view.press(Key::backspace);
                break;
            default:
                if (key > 0 && key <= 0xFF) view.press(static_cast<char>(key));
        }
    }
    return !view.over();
}

}  // namespace hakmem::top
