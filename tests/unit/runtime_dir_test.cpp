#include "diag/runtime_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "temporary_directory.h"

namespace hakmem {
namespace {

// What was chosen, with the descriptor closed.
struct Choice {
    std::string path;
    bool usable;
    std::string error;
};

Choice choose(const RuntimeDirRequest &request) {
    const RuntimeDir dir = open_runtime_dir(request);
    if (dir.fd >= 0) close(dir.fd);
    return {dir.path, dir.fd >= 0, dir.error != nullptr ? dir.error : ""};
}

mode_t mode_of(const std::string &path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 ? status.st_mode & 07777 : 0;
}

class RuntimeDirTest : public ::testing::Test {
  protected:
    RuntimeDirTest() {
        std::filesystem::create_directory(system_dir);
        std::filesystem::create_directory(xdg);
        std::filesystem::create_directory(temporary);
    }

    RuntimeDirRequest all() const {
        return {option.c_str(), environment.c_str(), system_dir.c_str(), xdg.c_str(), temporary.c_str(), geteuid()};
    }

    TemporaryDirectory root;
    std::string option = root / "option";
    std::string environment = root / "environment";
    std::string system_dir = root / "system";
    std::string xdg = root / "xdg";
    std::string temporary = root / "tmp";
    std::string fallback = temporary + "/hakmem-" + std::to_string(geteuid());
};

TEST_F(RuntimeDirTest, EachComesBeforeTheNext) {
    RuntimeDirRequest request = all();
    EXPECT_EQ(choose(request).path, option);
    request.option = "";
    EXPECT_EQ(choose(request).path, environment);
    request.environment = nullptr;
    EXPECT_EQ(choose(request).path, system_dir);
    std::filesystem::remove(system_dir);
    EXPECT_EQ(choose(request).path, xdg + "/hakmem");
    request.xdg_runtime_dir = "";
    const Choice last = choose(request);
    EXPECT_EQ(last.path, fallback);
    EXPECT_TRUE(last.usable);
}

TEST_F(RuntimeDirTest, WhatIsMissingIsMadePrivate) {
    const mode_t mask = umask(0);
    EXPECT_TRUE(choose(all()).usable);
    umask(mask);
    EXPECT_EQ(mode_of(option), 0700u);
}

TEST_F(RuntimeDirTest, WhatTheUserNamedIsNeverReplaced) {
    RuntimeDirRequest request = all();
    const std::string impossible = option + "/not/there";
    request.option = impossible.c_str();
    const Choice choice = choose(request);
    EXPECT_FALSE(choice.usable);
    EXPECT_EQ(choice.path, impossible);
    EXPECT_NE(choice.error, "");
}

TEST_F(RuntimeDirTest, ARelativePathBecomesAbsolute) {
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(root.path());
    RuntimeDirRequest request = all();
    request.option = "option";
    const Choice choice = choose(request);
    std::filesystem::current_path(before);
    EXPECT_EQ(choice.path, option);
}

TEST_F(RuntimeDirTest, AnXdgDirectoryThatIsNotThereIsPassedOver) {
    const std::string missing = root / "missing";
    const Choice choice = choose(
        {.system_dir = "", .xdg_runtime_dir = missing.c_str(), .temporary = temporary.c_str(), .uid = geteuid()});
    EXPECT_EQ(choice.path, fallback);
    EXPECT_TRUE(choice.usable);
}

TEST_F(RuntimeDirTest, TheTemporaryOneIsRefusedWhereAnotherUserOwnsIt) {
    const RuntimeDirRequest request{.system_dir = "", .temporary = temporary.c_str(), .uid = geteuid() + 1};
    // Made by us, wanted by another user.
    std::filesystem::create_directory(temporary + "/hakmem-" + std::to_string(geteuid() + 1));
    const Choice choice = choose(request);
    EXPECT_FALSE(choice.usable);
    EXPECT_EQ(choice.error, "belongs to another user");
}

TEST_F(RuntimeDirTest, TheTemporaryOneIsRefusedWhereItIsALink) {
    std::filesystem::create_directory_symlink(xdg, fallback);
    const Choice choice = choose({.system_dir = "", .temporary = temporary.c_str(), .uid = geteuid()});
    EXPECT_FALSE(choice.usable);
    EXPECT_EQ(choice.error, "isn't a directory");
}

TEST_F(RuntimeDirTest, TheTemporaryOneIsMadePrivateWhereItIsOpenToOthers) {
    std::filesystem::create_directory(fallback);
    std::filesystem::permissions(fallback, std::filesystem::perms::all);
    EXPECT_TRUE(choose({.system_dir = "", .temporary = temporary.c_str(), .uid = geteuid()}).usable);
    EXPECT_EQ(mode_of(fallback), 0700u);
}

TEST_F(RuntimeDirTest, AChosenOneCanBeOpenedAgain) {
    ASSERT_TRUE(choose(all()).usable);
    const RuntimeDir again = reopen_runtime_dir(option.c_str(), geteuid());
    EXPECT_GE(again.fd, 0);
    close(again.fd);
    EXPECT_STREQ(again.path, option.c_str());
}

}  // namespace
}  // namespace hakmem
