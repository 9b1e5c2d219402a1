#include "process/privilege.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdlib>

namespace hakmem {
namespace {

constexpr std::uint32_t kReadAll = 1U << CAP_DAC_READ_SEARCH | 1U << CAP_DAC_OVERRIDE;

using Sets = std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3>;

// The system calls change the calling thread alone; libcap's calls are no different and would be one more dependency.
bool get(Sets &sets) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capget, &header, sets.data()) == 0;
}

bool set(const Sets &sets) {
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    return ::syscall(SYS_capset, &header, sets.data()) == 0;
}

}  // namespace

UserRightsOnly::UserRightsOnly() {
    Sets sets{};
    if (::geteuid() == 0 || !get(sets) || (sets[0].effective & kReadAll) == 0) return;
    sets[0].effective &= ~kReadAll;
    if (!set(sets)) std::abort();  // rather none than an exporter that shows what it must not
    gave_up_ = true;
}

UserRightsOnly::~UserRightsOnly() {
    Sets sets{};
    if (!gave_up_ || !get(sets)) return;
    sets[0].effective |= sets[0].permitted & kReadAll;
    set(sets);
}

}  // namespace hakmem
