// The right to read every file, which a system-wide exporter has for the sake of segment files (CAP_DAC_READ_SEARCH).
// What a watched program names (modules, sources) must be read without it, or anybody could have the exporter show a
// file that is not theirs.
#pragma once

namespace hakmem {

// While one lives, the calling thread reads files by the rights of its user alone. For root nothing changes.
class UserRightsOnly {
  public:
    UserRightsOnly();
    ~UserRightsOnly();
    UserRightsOnly(const UserRightsOnly &) = delete;
    UserRightsOnly &operator=(const UserRightsOnly &) = delete;

  private:
    bool gave_up_ = false;
};

}  // namespace hakmem
