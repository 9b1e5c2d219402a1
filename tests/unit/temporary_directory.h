// A directory of a test's own, removed with what is in it.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

namespace hakmem {

class TemporaryDirectory {
  public:
    TemporaryDirectory() {
        std::string name = ::testing::TempDir() + "hakmem-test-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) std::abort();
        path_ = name;
    }
    ~TemporaryDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryDirectory(const TemporaryDirectory &) = delete;
    TemporaryDirectory &operator=(const TemporaryDirectory &) = delete;

    const std::filesystem::path &path() const { return path_; }
    std::string operator/(const char *name) const { return path_ / name; }

  private:
    std::filesystem::path path_;
};

}  // namespace hakmem
