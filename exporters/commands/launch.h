// How `hakmem run` starts its COMMAND: which library is preloaded and what the environment says. No process is started
// here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hakmem {

// The value of LD_PRELOAD without hakmem's own libraries.
std::string without_hakmem(std::string_view preload);

struct Launch {
    std::string library;               // absolute path
    bool production = false;           // nothing but the preload
    std::string runtime_dir;           // empty: the library chooses
    std::vector<std::string> options;  // KEY=VALUE, the later one counts
    bool children = true;
};

// `environment` is what COMMAND would get without hakmem, as NAME=VALUE.
std::vector<std::string> launch_environment(const std::vector<std::string> &environment, const Launch &launch);

// Finds libhakmem.so or libhakmem-diag.so: in HAKMEM_LIBDIR, the build tree or beside the installed command. Throws
// CommandError if it is nowhere.
std::string find_library(const std::string &name);

}  // namespace hakmem
