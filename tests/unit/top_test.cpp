// What `hakmem top` shows at any size, and what keys do, without a terminal.
#include <gtest/gtest.h>

#include <clocale>

#include "top/view.h"

namespace hakmem::top {
namespace {

using std::chrono::seconds;

segment::Snapshot process(std::uint64_t pid, const std::string &name, std::uint64_t allocations,
                          std::uint64_t incidents = 0) {
    segment::Snapshot snapshot;
    snapshot.pid = pid;
    snapshot.start_ticks = pid * 10;
    snapshot.alive = true;
    snapshot.process = name;
    snapshot.exe = "/usr/bin/" + name;
    snapshot.slot_bytes[0] = 16;
    snapshot.counters.allocations[0] = allocations;
    snapshot.counters.allocated_bytes = allocations * 16;
    snapshot.counters.incidents[0] = incidents;
    return snapshot;
}

std::string all_of(const std::vector<Line> &lines) {
    std::string text;
    for (const Line &line : lines) text += line.text + "\n";
    return text;
}

class TopTest : public ::testing::Test {
  protected:
    TopTest() : view(model) {
        std::setlocale(LC_CTYPE, "C.UTF-8");
        model.take({process(3, "alpha", 100), process(2, "beta", 1000, 5), process(1, "Gamma", 500)}, begin);
        model.take({process(3, "alpha", 100), process(2, "beta", 3000, 5), process(1, "Gamma", 400)},
                   begin + seconds(2));
    }

    std::vector<std::string> names(Sort sort, bool reverse = false, const std::string &filter = "") {
        std::vector<std::string> found;
        for (const Row *row : model.sorted(sort, reverse, filter)) found.push_back(row->process);
        return found;
    }
    std::string screen(std::size_t columns = 100, std::size_t rows = 12) { return all_of(view.draw({columns, rows})); }
    std::string selected() {
        for (const Line &line : view.draw({100, 12}))
            if (line.style == Style::selected) return line.text;
        return {};
    }

    Model::Clock::time_point begin{};
    Model model;
    View view;
};

using Names = std::vector<std::string>;

TEST_F(TopTest, RatesAreOfTheTimeBetweenTwoReadings) {
    const auto rows = model.sorted(Sort::pid, false, "");
    EXPECT_EQ(rows[0]->allocations, 0);  // a counter that fell
    EXPECT_EQ(rows[1]->allocations, 1000);
    EXPECT_EQ(rows[2]->allocations, 0);
}

TEST_F(TopTest, SortsAndFilters) {
    EXPECT_EQ(names(Sort::incidents), (Names{"beta", "Gamma", "alpha"}));
    EXPECT_EQ(names(Sort::live), (Names{"beta", "Gamma", "alpha"}));
    EXPECT_EQ(names(Sort::live, true), (Names{"alpha", "Gamma", "beta"}));
    EXPECT_EQ(names(Sort::pid), (Names{"Gamma", "beta", "alpha"}));
    EXPECT_EQ(names(Sort::process), (Names{"Gamma", "alpha", "beta"}));
    EXPECT_EQ(names(Sort::pid, false, "GAM"), (Names{"Gamma"}));
    EXPECT_EQ(names(Sort::pid, false, "bin/b"), (Names{"beta"}));
    EXPECT_EQ(names(Sort::pid, false, "3"), (Names{"alpha"}));
    EXPECT_EQ(names(Sort::pid, false, "nothing"), Names{});
}

TEST_F(TopTest, FitsEverySize) {
    model.take(
        {process(1, "\u4e16\u754c\u4e16\u754c\u4e16\u754c\u4e16\u754c", 1), process(2, std::string(300, 'x'), 1, 9)},
        begin + seconds(3));
    for (const char *page : {"", "?", "\n"}) {
        view.press(Key::escape);
        if (*page == '\n')
            view.press(Key::enter);
        else if (*page != '\0')
            view.press(*page);
        for (std::size_t rows = 0; rows < 30; ++rows)
            for (std::size_t columns = 0; columns < 130; ++columns)
                for (const std::vector<Line> lines = view.draw({columns, rows}); const Line &line : lines) {
                    EXPECT_LE(lines.size(), rows);
                    EXPECT_LE(fit(line.text, 1000, false).size(), 4 * columns);
                    EXPECT_EQ(fit(line.text, columns, false), line.text);
                }
    }
}

TEST_F(TopTest, ANarrowScreenKeepsWhatMattersMost) {
    EXPECT_NE(screen().find("THREADS INCIDENTS PROCESS"), std::string::npos);
    const std::string narrow = screen(31);
    EXPECT_NE(narrow.find("PID INCIDENTS PROCESS"), std::string::npos) << narrow;
    EXPECT_NE(narrow.find("beta"), std::string::npos);
    EXPECT_EQ(screen(100, 1).find("PROCESS"), std::string::npos);
    EXPECT_NE(screen(100, 1).find("beta"), std::string::npos);
}

TEST_F(TopTest, TheSelectionFollowsItsProcess) {
    EXPECT_NE(selected().find("beta"), std::string::npos);
    view.press(Key::down);
    EXPECT_NE(selected().find("Gamma"), std::string::npos);
    view.press('r');
    EXPECT_NE(selected().find("Gamma"), std::string::npos);
    view.press(Key::end);
    EXPECT_NE(selected().find("beta"), std::string::npos);
    for (int i = 0; i < 9; ++i) view.press(Key::up);
    EXPECT_NE(selected().find("Gamma"), std::string::npos);
    // The selected one is gone: its place is.
    model.take({process(2, "beta", 1, 5)}, begin + seconds(4));
    EXPECT_NE(selected().find("beta"), std::string::npos);
    model.take({}, begin + seconds(5));
    EXPECT_EQ(selected(), "");
    view.press(Key::down);
    view.press(Key::enter);
    EXPECT_NE(screen().find("No process is watched"), std::string::npos);
}

TEST_F(TopTest, TheListScrollsWithTheSelection) {
    std::vector<segment::Snapshot> many;
    for (std::uint64_t pid = 1; pid <= 50; ++pid) many.push_back(process(pid, "p" + std::to_string(pid), 1));
    model.take(std::move(many), begin + seconds(3));
    view.sort_by(Sort::pid);
    EXPECT_NE(screen().find(" p2\n"), std::string::npos) << screen();
    for (int i = 0; i < 30; ++i) view.press(Key::down);
    EXPECT_NE(selected().find(" p31 "), std::string::npos) << selected();
    EXPECT_EQ(screen().find(" p2\n"), std::string::npos);
    view.press(Key::home);
    EXPECT_NE(selected().find(" p1 "), std::string::npos);
    view.press(Key::page_down);
    EXPECT_NE(selected().find(" p10 "), std::string::npos) << selected();
}

TEST_F(TopTest, TheFilterIsTyped) {
    view.press('/');
    for (const char c : {'g', 'a', 'x'}) view.press(c);
    EXPECT_NE(screen().find("Filter: gax_"), std::string::npos);
    EXPECT_NE(screen().find("No process matches"), std::string::npos);
    view.press(Key::backspace);
    EXPECT_NE(selected().find("Gamma"), std::string::npos);
    view.press(Key::enter);
    view.press('q');
    EXPECT_TRUE(view.over());
    view.press(Key::escape);
    EXPECT_NE(screen().find("alpha"), std::string::npos);
}

TEST_F(TopTest, TheDetailHasTheNumbersOfOneProcess) {
    view.press(Key::enter);
    const std::string detail = screen(100, 60);
    EXPECT_NE(detail.find("beta, pid 2"), std::string::npos);
    EXPECT_NE(detail.find("5 incidents: hakmem incidents list --process beta"), std::string::npos);
    EXPECT_NE(detail.find("double_free"), std::string::npos);
    EXPECT_NE(detail.find("q back"), std::string::npos);
    const std::string top = screen(100, 5);
    view.press(Key::end);
    EXPECT_NE(screen(100, 5), top);
    view.press('q');
    EXPECT_FALSE(view.over());
    EXPECT_NE(screen().find("alpha"), std::string::npos);
}

TEST_F(TopTest, HostileNamesAreText) {
    model.take({process(1, "\033[2J\n\u009b\xff", 1)}, begin + seconds(3));
    for (const char key : {'?', 'q'}) {
        const std::string text = screen() + view.table();
        EXPECT_EQ(text.find('\033'), std::string::npos);
        EXPECT_EQ(text.find("\u009b"), std::string::npos);
        view.press(Key::enter);
        EXPECT_EQ(screen().find('\033'), std::string::npos);
        view.press(key);
    }
}

}  // namespace
}  // namespace hakmem::top
