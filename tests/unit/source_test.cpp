// Source lines: the right ones, and nothing but lines of source files, whatever path a watched program's debug
// information names.
#include "source/source.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "segment_builder.h"

namespace hakmem {
namespace {

class SourceTest : public ::testing::Test {
  protected:
    std::string file(const std::string &name, const std::string &content) {
        test::write_bytes(dir.file(name), content);
        return dir.file(name);
    }
    void expect_refused(const std::string &path, unsigned line = 1) {
        const SourceLines source = read_source(path, line, 5);
        EXPECT_FALSE(source.error.empty()) << path;
        EXPECT_TRUE(source.lines.empty()) << path;
    }
    test::TemporaryDir dir;
};

TEST_F(SourceTest, LinesAroundTheOne) {
    const std::string path = file("a.cpp", "one\ntwo\n\tthree\r\nfour\nfive");
    SourceLines source = read_source(path, 3, 1);
    EXPECT_EQ(source.error, "");
    EXPECT_EQ(source.first_line, 2U);
    EXPECT_EQ(source.lines, (std::vector<std::string>{"two", "\tthree", "four"}));
    EXPECT_GT(source.modified_ns, 0U);
    source = read_source(path, 1, 9);
    EXPECT_EQ(source.first_line, 1U);
    EXPECT_EQ(source.lines.size(), 5U);
    source = read_source(path, 5, 0);
    EXPECT_EQ(source.lines, std::vector<std::string>{"five"});
}

TEST_F(SourceTest, WhatIsNoLine) {
    const std::string path = file("a.c", "one\ntwo\n");
    expect_refused(path, 0);
    expect_refused(path, 3);
    expect_refused(path, UINT32_MAX);
    expect_refused(file("empty.c", ""), 1);
}

TEST_F(SourceTest, WhatIsNoSourceFile) {
    expect_refused("");
    expect_refused("relative.cpp");
    expect_refused("/etc/passwd");
    expect_refused("/proc/self/environ");
    expect_refused("/dev/zero");
    expect_refused(dir.path());
    expect_refused(dir.file("missing.cpp"));
    expect_refused(file("notes.txt", "secret\n"));
    expect_refused(file(".c", "secret\n"));
    expect_refused(file("id_rsa", "secret\n"));
    expect_refused(std::string("/etc/passwd\0.cpp", 16));
    ASSERT_EQ(::mkfifo(dir.file("pipe.cpp").c_str(), 0600), 0);
    expect_refused(dir.file("pipe.cpp"));
    ASSERT_EQ(::mkdir(dir.file("folder.cpp").c_str(), 0700), 0);
    expect_refused(dir.file("folder.cpp"));
}

// What counts is the name behind all links.
TEST_F(SourceTest, Links) {
    std::filesystem::create_symlink("/etc/passwd", dir.file("innocent.cpp"));
    expect_refused(dir.file("innocent.cpp"));
    std::filesystem::create_symlink(file("real.cpp", "text\n"), dir.file("link"));
    EXPECT_EQ(read_source(dir.file("link"), 1, 0).lines, std::vector<std::string>{"text"});
}

TEST_F(SourceTest, HostileContent) {
    const SourceLines source =
        read_source(file("a.cc", std::string("\x1b[31m\0\xff<script>\n", 16) + std::string(5'000, 'x')), 1, 5);
    ASSERT_EQ(source.lines.size(), 2U);
    EXPECT_EQ(source.lines[0], "\xEF\xBF\xBD[31m\xEF\xBF\xBD\xEF\xBF\xBD<script>");
    EXPECT_LT(source.lines[1].size(), 500U);
    std::filesystem::resize_file(file("huge.cc", "x\n"), 100 << 20);
    expect_refused(dir.file("huge.cc"));
}

TEST_F(SourceTest, ModifiedIsOfRegularFilesOnly) {
    EXPECT_TRUE(modified_ns(file("program", "x")));
    EXPECT_FALSE(modified_ns(dir.path()));
    EXPECT_FALSE(modified_ns("program"));
    EXPECT_FALSE(modified_ns(dir.file("missing")));
}

}  // namespace
}  // namespace hakmem
