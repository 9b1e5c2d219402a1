// The report of an incident, to the letter: its order is what people and their scripts go by.
#include "report/report.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace hakmem {
namespace {

Frame frame(const char *function, const char *file, unsigned line, std::uint64_t pc) {
    Frame frame;
    frame.pc = pc;
    frame.module = "/opt/app/server";
    frame.offset = pc & 0xFFFF;
    frame.function = function;
    frame.file = file;
    frame.line = line;
    return frame;
}

Incident overwritten() {
    Incident incident;
    incident.id = "0123456789abcdef";
    incident.fingerprint = "fedcba9876543210";
    incident.kind = segment::Kind::header_overwritten;
    incident.process = "server";
    incident.exe = "/opt/app/server";
    incident.pid = 4711;
    incident.tid = 4712;
    incident.thread = "worker";
    incident.address = incident.block = 0x7f0000001040;
    incident.slot_bytes = 32;
    incident.asked_bytes = 25;
    incident.header_known = true;
    incident.header_found = 0;
    incident.header_expected = 0xA1;
    incident.outcome = segment::HeaderInvalid::recovered;
    incident.free = {frame("ship(Order&)", "/src/ship.cpp", 49, 0x550000001234)};
    incident.free.push_back({});
    incident.free.back().pc = 0x7f1234;
    incident.alloc = {frame("take", "/src/take.cpp", 7, 0x550000001300)};
    incident.suspect = segment::Suspect{0x7f0000001020, 32, segment::SlotState::in_use};
    incident.suspect_alloc = {frame("name_of", "/src/name.cpp", 12, 0x550000001400)};
    incident.suspect_alloc.back().inlined = true;
    incident.suspect_alloc.push_back(frame("", "", 0, 0x550000001500));
    incident.suspect_alloc.back().note = "no symbols";
    incident.suspect_alloc.back().debug_file = "/usr/lib/debug/.build-id/ab/cdef.debug";
    incident.dump_address = 0x7f000000103c;
    incident.dump = std::string("abc\0Hello", 9);
    incident.count = 3;
    incident.first_ns = 1'700'000'000'000'000'000;
    incident.last_ns = 1'700'000'001'500'000'000;
    return incident;
}

TEST(Report, HasTheOrderThatUsersKnow) {
    EXPECT_EQ(report(overwritten(), false),
              "=================================================================\n"
              "==4711==ERROR: hakmem: header_overwritten on address 0x7f0000001040 in thread 4712 (worker)\n"
              "  the header byte in front of a block was overwritten\n"
              "  0x7f0000001040 is the start of a block of 32 bytes (25 asked for)\n"
              "  header found 0x00, expected 0xa1\n"
              "  recovered: the header was repaired and the block freed\n"
              "\n"
              "Found when the block was freed here:\n"
              "    #0  0x550000001234 in ship(Order&) /src/ship.cpp:49 (server+0x1234)\n"
              "    #1  0x7f1234 (no module)\n"
              "\n"
              "Allocated here:\n"
              "    #0  0x550000001300 in take /src/take.cpp:7 (server+0x1300)\n"
              "\n"
              "Suspect: the block of 32 bytes at 0x7f0000001020, in use: it lies in front, and whoever writes past its "
              "end hits this header first.\n"
              "\n"
              "The suspect was allocated here:\n"
              "    #0  0x550000001400 in name_of /src/name.cpp:12 (inlined) (server+0x1400)\n"
              "    #1  0x550000001500 (server+0x1500) [no symbols]\n"
              "\n"
              "Memory around it (the header byte in brackets):\n"
              "    0x7f0000001030                                                  61  62  63 [00]             abc.\n"
              "    0x7f0000001040  48  65  6c  6c  6f                                              Hello           \n"
              "\n"
              "No debug information: build with -g, install these files, or set DEBUGINFOD_URLS\n"
              "    server: /usr/lib/debug/.build-id/ab/cdef.debug\n"
              "\n"
              "  process     server, pid 4711\n"
              "  program     /opt/app/server\n"
              "  time        2023-11-14T22:13:20.000000Z\n"
              "  count       3 times, last 2023-11-14T22:13:21.500000Z\n"
              "  level       count\n"
              "  id          0123456789abcdef\n"
              "  fingerprint fedcba9876543210\n"
              "\n"
              "SUMMARY: hakmem: header_overwritten name_of name.cpp:12\n"
              "==4711==END OF INCIDENT\n");
}

TEST(Report, ABlockWhoseOwnEndWasPassedLiesNotInFrontOfItself) {
    Incident incident = overwritten();
    incident.kind = segment::Kind::redzone_overwritten;
    incident.suspect->address = incident.block;
    incident.suspect_alloc = incident.alloc;
    const std::string text = report(incident, false);
    EXPECT_NE(text.find("\nSuspect: the block itself: whoever writes past its end hits these bytes first.\n\nMemory"),
              std::string::npos);
    EXPECT_EQ(text.find("lies in front"), std::string::npos);
}

TEST(Report, AHeaderWhoseMarkerIsRightWasHurtElsewhere) {
    Incident incident = overwritten();
    incident.kind = segment::Kind::large_header_corrupt;
    incident.header_found = incident.header_expected = 0xE1;
    EXPECT_NE(report(incident, false)
                  .find("\n  header found 0xe1, as expected: what changed lies in the 15 bytes before it\n"),
              std::string::npos);
}

TEST(Report, SaysWhoFreedBeforeWhoAllocated) {
    Incident incident = overwritten();
    incident.kind = segment::Kind::double_free;
    incident.previous_free = {frame("close", "/src/close.cpp", 3, 0x550000001600)};
    incident.address += 1;
    const std::string text = report(incident, false);
    EXPECT_NE(text.find("0x7f0000001041 is 1 byte into a block of 32 bytes (25 asked for) at 0x7f0000001040"),
              std::string::npos);
    const std::size_t again = text.find("\nFreed again here:"), before = text.find("\nFreed before here:"),
                      allocated = text.find("\nAllocated here:");
    EXPECT_LT(again, before);
    EXPECT_LT(before, allocated);
    EXPECT_LT(allocated, text.find("\nSuspect:"));
    EXPECT_NE(text.find("SUMMARY: hakmem: double_free ship(Order&) ship.cpp:49\n"), std::string::npos);
}

TEST(Report, NamesOfTheProgramCannotSteerTheTerminal) {
    Incident incident = overwritten();
    const std::string hostile = "\033[2J\033]0;title\007\r\n\u009b31m\u202e";
    incident.process = incident.exe = incident.thread = incident.id = incident.fingerprint = hostile;
    for (Stack *stack : {&incident.free, &incident.suspect_alloc})
        for (Frame &frame : *stack)
            frame.function = frame.file = frame.module = frame.note = frame.debug_file = hostile;
    const std::string text = report(incident, false);
    for (const char c : text) EXPECT_TRUE(c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7F));
    EXPECT_EQ(text.find("\u009b"), std::string::npos);
    EXPECT_EQ(text.find("\u202e"), std::string::npos);
    // As many lines as with harmless names: none of theirs begins one.
    const std::string harmless = report(overwritten(), false);
    EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), std::count(harmless.begin(), harmless.end(), '\n'));
}

TEST(Report, ColoursAreTheOnlyDifference) {
    std::string coloured = report(overwritten(), true);
    EXPECT_NE(coloured.find("\033[1;31mERROR: hakmem: header_overwritten"), std::string::npos);
    for (std::size_t at = 0; (at = coloured.find("\033[", at)) != std::string::npos;)
        coloured.erase(at, coloured.find('m', at) - at + 1);
    EXPECT_EQ(coloured, report(overwritten(), false));
}

}  // namespace
}  // namespace hakmem
