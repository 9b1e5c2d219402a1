#include "diag/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "base/text.h"
#include "diag/safe_read.h"
#include "temporary_directory.h"

#include <sys/mman.h>

namespace hakmem {
namespace {

TEST(Process, StartTicksAreTheFieldAfterTheNameWhateverTheNameHolds) {
    const std::string stat = "12 (a) b (c)) S 1 12 12 0 -1 4194560 109 0 0 0 0 0 0 0 20 0 1 0 987654 2461696 200";
    EXPECT_EQ(process::start_ticks_of_stat(stat.data(), stat.size()), 987654u);
    for (std::size_t cut = 0; cut <= stat.size(); ++cut) {
        process::start_ticks_of_stat(std::string(stat, 0, cut).c_str(), cut);  // under a sanitizer: no overrun
    }
    EXPECT_EQ(process::start_ticks_of_stat("no name", 7), 0u);
    EXPECT_EQ(process::start_ticks_of_stat("", 0), 0u);
}

TEST(Process, StartTicksAreProcs) {
    std::ifstream file("/proc/self/stat");
    std::string stat;
    std::getline(file, stat);
    EXPECT_NE(process::start_ticks(), 0u);
    EXPECT_NE(stat.find(' ' + std::to_string(process::start_ticks()) + ' '), std::string::npos);
}

TEST(Process, FindsVariablesByTheWholeName) {
    char one[] = "AB=1";
    char two[] = "A=2=3";
    char three[] = "EMPTY=";
    char *environment[] = {one, two, three, nullptr};
    EXPECT_STREQ(process::variable(environment, "A"), "2=3");
    EXPECT_STREQ(process::variable(environment, "AB"), "1");
    EXPECT_STREQ(process::variable(environment, "EMPTY"), "");
    EXPECT_EQ(process::variable(environment, "B"), nullptr);
    EXPECT_EQ(process::variable(nullptr, "A"), nullptr);
}

TEST(Process, TheEnvironmentIsFoundBeforeLibcHasIt) {
    char **libcs = environ;
    environ = nullptr;
    char **found = process::environment();
    environ = libcs;
    ASSERT_NE(found, nullptr);
    EXPECT_STREQ(process::variable(found, "PATH"), process::variable(libcs, "PATH"));
}

std::string without(const char *preload) {
    std::string entry = std::string("LD_PRELOAD=") + preload;
    char other[] = "OTHER=libx.so";
    char *environment[] = {other, entry.data(), nullptr};
    process::remove_from_preload(environment, "libx.so");
    EXPECT_STREQ(other, "OTHER=libx.so");
    return entry.c_str();
}

TEST(Process, RemovesItsOwnEntryFromThePreloadList) {
    EXPECT_EQ(without("/a/libx.so"), "LD_PRELOAD=");
    EXPECT_EQ(without("libx.so"), "LD_PRELOAD=");
    EXPECT_EQ(without("/a/libx.so:/b/liby.so"), "LD_PRELOAD=/b/liby.so");
    EXPECT_EQ(without("/b/liby.so /a/libx.so libz.so"), "LD_PRELOAD=/b/liby.so:libz.so");
    EXPECT_EQ(without("/a/mylibx.so:libx.so.1"), "LD_PRELOAD=/a/mylibx.so:libx.so.1");
    EXPECT_EQ(without(""), "LD_PRELOAD=");
    EXPECT_EQ(without("::libx.so::"), "LD_PRELOAD=");
}

TEST(Process, TheExecutableIsCutToTheBuffer) {
    char path[1024];
    process::executable(path, sizeof path);
    EXPECT_STREQ(process::base_name(path), "process_test");
    char cut[5];
    process::executable(cut, sizeof cut);
    EXPECT_EQ(std::string(cut), std::string(path, 4));
}

TEST(Process, IsKnownByTheNameThatItWasCalledBy) {
    char self[1024];
    process::executable(self, sizeof self);
    const TemporaryDirectory folder;
    const std::string link = folder / "service", other = folder / "other";
    ASSERT_EQ(symlink(self, link.c_str()), 0);
    ASSERT_EQ(symlink("/bin/sh", other.c_str()), 0);
    EXPECT_STREQ(process::name(self, self), "process_test");
    EXPECT_STREQ(process::name(link.c_str(), self), "service");
    // Not this executable: a script, a file that was replaced or is gone, nothing at all.
    EXPECT_STREQ(process::name(other.c_str(), self), "process_test");
    EXPECT_STREQ(process::name("/nonexistent/name", self), "process_test");
    EXPECT_STREQ(process::name("", self), "process_test");
    EXPECT_STREQ(process::name(nullptr, self), "process_test");
    // The link of a process to its own program.
    EXPECT_STREQ(process::name("/proc/self/exe", self), "process_test");
}

class TwoPages : public ::testing::Test {
  protected:
    TwoPages()
        : memory(static_cast<unsigned char *>(
              mmap(nullptr, 2 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))),
          boundary(reinterpret_cast<std::uintptr_t>(memory) + 4096) {
        for (unsigned i = 0; i < 2 * 4096; ++i) memory[i] = static_cast<unsigned char>(i);
    }
    ~TwoPages() override { munmap(memory, 2 * 4096); }

    unsigned char *memory;
    std::uintptr_t boundary;
};

TEST_F(TwoPages, ADumpIsCenteredAndKeptToItsSize) {
    const MemoryDump dump = dump_around(boundary, 32);
    EXPECT_EQ(dump.address, boundary - 16);
    ASSERT_EQ(dump.size, 32u);
    EXPECT_EQ(std::memcmp(dump.bytes, memory + 4096 - 16, 32), 0);
    EXPECT_EQ(dump_around(boundary, 1000).size, MemoryDump::kMost);
    EXPECT_EQ(dump_around(boundary, 0).size, 0u);
}

TEST_F(TwoPages, OfADumpOnlyTheReadablePartIsThere) {
    mprotect(memory + 4096, 4096, PROT_NONE);
    MemoryDump dump = dump_around(boundary, 32);
    EXPECT_EQ(dump.address, boundary - 16);
    EXPECT_EQ(dump.size, 16u);
    mprotect(memory + 4096, 4096, PROT_READ);
    mprotect(memory, 4096, PROT_NONE);
    dump = dump_around(boundary, 32);
    EXPECT_EQ(dump.address, boundary);
    EXPECT_EQ(dump.size, 16u);
    mprotect(memory + 4096, 4096, PROT_NONE);
    EXPECT_EQ(dump_around(boundary, 32).size, 0u);
}

TEST(SafeRead, AddressesAtTheEndsOfTheWorldHaveNothing) {
    EXPECT_EQ(dump_around(0, 32).size, 0u);
    EXPECT_EQ(dump_around(5, 32).size, 0u);
    EXPECT_EQ(dump_around(UINTPTR_MAX, 32).size, 0u);
    EXPECT_EQ(dump_around(UINTPTR_MAX / 2, 32).size, 0u);
}

TEST(TextBuffer, FormatsNumbers) {
    TextBuffer<200> text;
    text.decimal(0).put(' ').decimal(UINT64_MAX).put(' ').signed_decimal(INT64_MIN).put(' ').signed_decimal(7);
    text.put(' ').hex(0).put(' ').hex(0x86, 2).put(' ').hex(6, 2).put(' ').hex(UINT64_MAX);
    EXPECT_STREQ(text.c_str(), "0 18446744073709551615 -9223372036854775808 7 0x0 0x86 0x06 0xffffffffffffffff");
}

TEST(TextBuffer, CutsWhatIsTooLong) {
    TextBuffer<5> text;
    text.put("123456");
    EXPECT_STREQ(text.c_str(), "1234");
    EXPECT_TRUE(text.full());
}

}  // namespace
}  // namespace hakmem
