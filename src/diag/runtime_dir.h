// The runtime directory: where processes put their segment files and the exporter looks for them. Both sides choose it
// by this one function. Allocates nothing.
#pragma once

#include <sys/types.h>

#include <cstddef>

#include "diag/options.h"

namespace hakmem {

// What the choice depends on, in the order of precedence. Null or empty: not given.
struct RuntimeDirRequest {
    const char *option = nullptr;       // runtime_dir, --runtime-dir
    const char *environment = nullptr;  // HAKMEM_RUNTIME_DIR
    const char *system_dir = "/run/hakmem";
    const char *xdg_runtime_dir = nullptr;
    const char *temporary = "/tmp";
    uid_t uid = 0;
};

struct RuntimeDir {
    char path[kMaxPath] = {};     // absolute
    int fd = -1;                  // open on it, for the caller to close; -1: unusable
    const char *error = nullptr;  // why, in words
    int error_number = 0;         // and errno if a system call said so
};

// Chooses, makes (one level, 0700) and opens the directory.
RuntimeDir open_runtime_dir(const RuntimeDirRequest &request);

// Opens a directory chosen before, with the same checks.
RuntimeDir reopen_runtime_dir(const char *path, uid_t uid);

}  // namespace hakmem
