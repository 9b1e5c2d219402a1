// What overwritten bytes look like, in plain words.
#include "incident/reading.h"

#include <gtest/gtest.h>

#include <cstring>

namespace hakmem {
namespace {

constexpr std::uint64_t kBlock = 0x7f0000001000;
constexpr std::uint64_t kModule = 0x555500001000;

std::string name_of(std::uint64_t address) {
    return address >= kModule && address < kModule + 0x1000 ? "server (handle_request)" : "";
}

template <class T>
std::string bytes_of(T value) {
    std::string bytes(sizeof value, '\0');
    std::memcpy(bytes.data(), &value, sizeof value);
    return bytes;
}

// `before` ends with the header byte of the block at kBlock.
std::string read_header(const std::string &before, const std::string &behind = "\x11\x22\x33\x44\x55\x66\x77\x01") {
    const std::string bytes = before + behind;
    return reading({.bytes = bytes,
                    .address = kBlock - before.size(),
                    .at = before.size() - 1,
                    .found = static_cast<std::uint8_t>(before.back()),
                    .block = kBlock},
                   name_of);
}

// `written` stands at the start of filled memory, `before` in front of it.
std::string read_filled(const std::string &before, const std::string &written) {
    const std::string bytes = before + written + std::string(12, '\xFB');
    return reading({.bytes = bytes,
                    .address = kBlock - before.size(),
                    .at = before.size(),
                    .found = static_cast<std::uint8_t>(written.front()),
                    .fill = 0xFB,
                    .block = kBlock - 64},
                   name_of);
}

std::string with_nul(std::string text) {
    text.push_back(0);
    return text;
}

TEST(Reading, TerminatorOfAString) {
    EXPECT_EQ(
        read_header(with_nul("\x01 tom-Featherstone")),
        "a single zero byte behind the text \" tom-Featherstone\": a string's terminator written one past the end");
    // The window begins in the middle of the text.
    EXPECT_EQ(
        read_header(with_nul("tom-Featherstone")),
        "a single zero byte behind the text \"…tom-Featherstone\": a string's terminator written one past the end");
    EXPECT_EQ(read_filled("\x01\x02 name", std::string(1, '\0')),
              "a single zero byte behind the text \" name\": a string's terminator written one past the end");
    EXPECT_EQ(read_filled("\x01\x02\x03\x04\xF1\xF2\xF3\xF4", std::string(1, '\0')),
              "a single zero byte: most likely a string's terminator written one past the end");
}

TEST(Reading, PrintableText) {
    EXPECT_EQ(read_header("\x01\x02Host: exa", "mple.org\x01"), "printable text: \"Host: example.org\"");
    EXPECT_EQ(read_header("\x01\x02line\n", "two\t\x01"), "printable text: \"line\\ntwo\\t\"");
    EXPECT_EQ(read_filled("\x01", "abcdef"), "printable text: \"abcdef\"");
}

TEST(Reading, RunOfEqualBytes) {
    EXPECT_EQ(read_header("\x01" + std::string(15, 'A'), std::string(4, 'A') + "\x01"),
              "a run of 19 equal bytes, 0x41 ('A'): memset, or a loop that fills");
    EXPECT_EQ(read_header(std::string(16, '\xFF')),
              "a run of at least 16 equal bytes, 0xff: memset, or a loop that fills");
    EXPECT_EQ(read_header("\x01" + std::string(11, '\0')),
              "a run of 11 equal bytes, 0x00: memset, a cleared structure, or a zero");
}

TEST(Reading, WideText) {
    EXPECT_EQ(read_header(std::string("a\0b\0c\0d\0", 8), std::string("e\0\x01\x02", 4)),
              "wide text (UTF-16): \"abcde\"");
    EXPECT_EQ(read_header(std::string("a\0\0\0b\0\0\0c\0\0\0d\0\0\0", 16)), "wide text (UTF-32, wchar_t): \"abcd\"");
    EXPECT_EQ(read_filled(std::string("a\0\0\0b\0\0\0c\0\0\0", 12), std::string(4, '\0')),
              "the terminator of wide text (UTF-32, wchar_t): \"abc\"");
}

TEST(Reading, Pointers) {
    EXPECT_EQ(read_header("\x01\x02\x03\x04\x05\x06\x07\x08" + bytes_of(kModule + 0x123)),
              "looks like a pointer into server (handle_request)");
    EXPECT_EQ(read_header("\x01\x02\x03\x04\x05\x06\x07\x08" + bytes_of(kBlock - 0x4000)),
              "looks like a pointer to a block of the heap, 0x7effffffd000: a link of a list, such as a free list that "
              "the program keeps itself");
    EXPECT_EQ(read_filled("\x01\x02\x03\x04\x05\x06\x07\x08", bytes_of(std::uint64_t{0x7ffd12345678})),
              "looks like a pointer into a stack or a mapping, 0x7ffd12345678");
}

TEST(Reading, SmallIntegers) {
    EXPECT_EQ(read_header("\x01\x02\x03\x04\x05\x06\x07\x08" + bytes_of(std::uint64_t{42})),
              "a small integer, 42, as 8 bytes");
    EXPECT_EQ(read_header("\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0A\x0B\x0C" + bytes_of(std::uint32_t{1000})),
              "a small integer, 1000, as 4 bytes");
    EXPECT_EQ(read_filled("\x01\x02\x03\x04\x05\x06\x07\x08", bytes_of(std::int32_t{-2})),
              "a small integer, -2, as 4 bytes");
}

TEST(Reading, SingleBytes) {
    EXPECT_EQ(read_header("\x01\xC1\x03\x99\x85"), "a byte 0x85, as in front of a free block: an old header, copied");
    EXPECT_EQ(read_header("\x01\xC1\x03\x99\xA5"), "a byte 0xa5, as in front of a block in use: an old header, copied");
    EXPECT_EQ(read_header("\x01\xC1\x03\x99\xFF"), "a byte with all bits set: -1, or a mask");
    EXPECT_EQ(read_header("\x01\xC1\x03\x99x"), "a byte 0x78, the letter 'x'");
    EXPECT_EQ(read_header("\x01\xC1\x03\x99\x03"), "a byte 0x03");
}

TEST(Reading, NothingAround) {
    const OverwrittenBytes nothing{.address = 0, .at = 16, .found = 0, .block = kBlock};
    EXPECT_EQ(reading(nothing, name_of),
              "a single zero byte: most likely a string's terminator written one past the end");
    EXPECT_EQ(reading({.bytes = "x", .address = kBlock, .at = SIZE_MAX, .found = 'x'}, nullptr),
              "a byte 0x78, the letter 'x'");
}

// A repair may be quicker than the dump.
TEST(Reading, WhatWasFoundCounts) {
    const std::string bytes = "\x01\x02\x03 a name\xA5\x99\x98";
    EXPECT_EQ(reading({.bytes = bytes, .address = kBlock - 11, .at = 10, .found = 0, .block = kBlock}, name_of),
              "a single zero byte behind the text \" a name\": a string's terminator written one past the end");
}

// Whatever stands there and wherever the bad byte is: no byte outside is looked at (run under ASan), and no control
// character comes out.
TEST(Reading, AnyBytes) {
    std::uint64_t state = 42;
    for (int round = 0; round < 20000; ++round) {
        std::string bytes;
        state = state * 6364136223846793005 + 1442695040888963407;
        const std::size_t size = state >> 33 & 63;
        for (std::size_t i = 0; i < size; ++i) {
            state = state * 6364136223846793005 + 1442695040888963407;
            const char choices[] = {'\0', 'a', static_cast<char>(state >> 40), '\xFB'};
            bytes += choices[state >> 60 & 3];
        }
        const std::string text = reading({.bytes = bytes,
                                          .address = kBlock + (state >> 20 & 15),
                                          .at = state >> 50 & 63,
                                          .found = static_cast<std::uint8_t>(state >> 24),
                                          .fill = 0xFB,
                                          .block = kBlock},
                                         name_of);
        EXPECT_FALSE(text.empty());
        for (const char letter : text) ASSERT_FALSE(letter >= 0 && letter < 0x20) << text;
    }
}

}  // namespace
}  // namespace hakmem
