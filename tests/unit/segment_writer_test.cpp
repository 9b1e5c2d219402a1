#include "diag/segment_writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "temporary_directory.h"

namespace hakmem {
namespace {

class SegmentWriterTest : public ::testing::Test {
  protected:
    SegmentWriterTest() : fd(open(root.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {}
    ~SegmentWriterTest() override { close(fd); }

    Segment create(SegmentName name, unsigned char *where = nullptr) {
        error = {};
        return create_shared_segment(fd, name, where, error);
    }

    segment::Header read_header(const char *name) {
        segment::Header header{};
        const int file = openat(fd, name, O_RDONLY);
        EXPECT_EQ(pread(file, &header, sizeof header, 0), static_cast<ssize_t>(sizeof header)) << name;
        close(file);
        return header;
    }

    TemporaryDirectory root;
    int fd;
    SegmentError error;
};

TEST_F(SegmentWriterTest, MakesAPrivateFileWithItsSectionsDescribed) {
    const mode_t mask = umask(0);
    const Segment segment = create({123, 456});
    umask(mask);
    ASSERT_TRUE(segment) << error.what;
    EXPECT_TRUE(segment.shared);
    publish_segment(segment);

    struct stat status {};
    ASSERT_EQ(fstatat(fd, "123-456.hakmem", &status, 0), 0);
    EXPECT_EQ(status.st_mode & 07777, 0600u);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), kSegmentBytes);
    // Sparse: what no thread has asked for takes no memory.
    EXPECT_LT(status.st_blocks * 512, 64 * 1024);

    const segment::Header header = read_header("123-456.hakmem");
    EXPECT_EQ(header.magic, segment::kMagic);
    EXPECT_EQ(header.version, segment::kVersion);
    EXPECT_EQ(header.file_bytes, kSegmentBytes);
    for (const segment::Section &section : {header.shards, header.incidents, header.modules}) {
        EXPECT_GT(section.count, 0u);
        EXPECT_LE(section.offset + std::uint64_t{section.stride} * section.count, kSegmentBytes);
    }
    munmap(segment.base, kSegmentBytes);
}

TEST_F(SegmentWriterTest, IsNotValidBeforeItIsPublished) {
    const Segment segment = create({1, 2});
    ASSERT_TRUE(segment);
    EXPECT_EQ(read_header("1-2.hakmem").magic, 0u);
    publish_segment(segment);
    EXPECT_EQ(read_header("1-2.hakmem").magic, segment::kMagic);
    munmap(segment.base, kSegmentBytes);
}

TEST_F(SegmentWriterTest, WhatTheProgramBeforeExecLeftIsKeptAndMarkedEnded) {
    for (unsigned exec = 0; exec < 3; ++exec) {
        const Segment segment = create({7, 8});
        ASSERT_TRUE(segment) << error.what;
        segment.shards()[1].allocations[0] = exec + 100;
        publish_segment(segment);
        munmap(segment.base, kSegmentBytes);
    }
    EXPECT_EQ(read_header("7-8.hakmem").ended_ns, 0u);
    for (const char *name : {"7-8.exec1.hakmem", "7-8.exec2.hakmem"}) {
        const segment::Header header = read_header(name);
        EXPECT_EQ(header.magic, segment::kMagic);
        EXPECT_NE(header.ended_ns, 0u);
    }
}

TEST_F(SegmentWriterTest, TakesThePlaceOfAnotherSegment) {
    const Segment parent = create({1, 1});
    ASSERT_TRUE(parent);
    parent.shards()[3].frees[5] = 17;
    const Segment child = create({2, 2}, parent.base);
    ASSERT_TRUE(child);
    EXPECT_EQ(child.base, parent.base);
    EXPECT_EQ(child.shards()[3].frees[5], 0u);
    const Segment hidden = create_private_segment(child.base);
    EXPECT_EQ(hidden.base, child.base);
    EXPECT_FALSE(hidden.shared);
    EXPECT_EQ(hidden.header().shards.count, kShards);
    munmap(hidden.base, kSegmentBytes);
}

TEST_F(SegmentWriterTest, ALinkInTheWayIsNotFollowed) {
    const std::string victim = root / "victim";
    ASSERT_EQ(symlinkat(victim.c_str(), fd, "5-5.hakmem"), 0);
    const Segment segment = create({5, 5});
    // Moved aside like any file; nothing was written through it.
    ASSERT_TRUE(segment);
    EXPECT_FALSE(std::filesystem::exists(victim));
    munmap(segment.base, kSegmentBytes);
}

TEST_F(SegmentWriterTest, ALimitOnFileSizesIsAnErrorAndNotASignal) {
    const pid_t child = fork();
    if (child == 0) {
        const rlimit limit{4096, 4096};
        setrlimit(RLIMIT_FSIZE, &limit);
        const bool refused = !create({9, 9}) && error.what != nullptr;
        _exit(refused && faccessat(fd, "9-9.hakmem", F_OK, 0) != 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(SegmentWriterTest, ADirectoryThatIsGoneIsAnError) {
    close(fd);
    fd = -1;
    EXPECT_FALSE(create({1, 1}));
    EXPECT_NE(error.what, nullptr);
}

TEST(PrepareMemory, SaysWhatWouldRaiseSigbus) {
    const int file = memfd_create("short", MFD_CLOEXEC);
    ASSERT_EQ(ftruncate(file, 4096), 0);
    auto *memory = static_cast<unsigned char *>(mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0));
    ASSERT_NE(memory, MAP_FAILED);
    memory[100] = 42;
    EXPECT_TRUE(prepare_memory(memory, 4096));
    EXPECT_EQ(memory[100], 42);
    EXPECT_FALSE(prepare_memory(memory + 4096, 1));
    EXPECT_FALSE(prepare_memory(memory + 4095, 2));
    munmap(memory, 3 * 4096);
    close(file);
}

}  // namespace
}  // namespace hakmem
