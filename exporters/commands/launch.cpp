#include "commands/launch.h"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "commands/command.h"
#include "paths.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::string_view kSeparators = ": ";  // of LD_PRELOAD
constexpr std::string_view kLibraryPrefix = "libhakmem";

std::string value_of(const std::vector<std::string> &environment, const std::string &name) {
    for (const std::string &entry : environment)
        if (entry.starts_with(name + "=")) return entry.substr(name.size() + 1);
    return {};
}

void set(std::vector<std::string> &environment, const std::string &name, const std::string &value) {
    std::erase_if(environment, [&](const std::string &entry) { return entry.starts_with(name + "="); });
    if (!value.empty()) environment.push_back(name + "=" + value);
}

// The options of the user's environment but for `runtime_dir`, which `run` decides; then the command line's.
std::string merge_options(const std::string &inherited, const Launch &launch) {
    std::string merged;
    const auto append = [&](std::string_view option) {
        if (!option.empty()) merged += (merged.empty() ? "" : ":") + std::string(option);
    };
    for (std::string_view rest = inherited; !rest.empty();) {
        const std::string_view option = rest.substr(0, rest.find(':'));
        if (!(option.starts_with("runtime_dir=") && !launch.runtime_dir.empty())) append(option);
        rest.remove_prefix(std::min(option.size() + 1, rest.size()));
    }
    for (const std::string &option : launch.options) append(option);
    return merged;
}

}  // namespace

std::string without_hakmem(std::string_view preload) {
    std::string rest;
    while (!preload.empty()) {
        const std::size_t length = preload.find_first_of(kSeparators);
        const std::string_view entry = preload.substr(0, length);
        if (!entry.empty() && !text::base_name(entry).starts_with(kLibraryPrefix))
            rest += (rest.empty() ? "" : ":") + std::string(entry);
        preload.remove_prefix(std::min(length == std::string_view::npos ? preload.size() : length + 1, preload.size()));
    }
    return rest;
}

std::vector<std::string> launch_environment(const std::vector<std::string> &environment, const Launch &launch) {
    std::vector<std::string> out = environment;
    const std::string others = without_hakmem(value_of(environment, "LD_PRELOAD"));
    set(out, "LD_PRELOAD", launch.library + (others.empty() ? "" : ":" + others));
    if (launch.production) return out;
    set(out, "HAKMEM_OPTIONS", merge_options(value_of(environment, "HAKMEM_OPTIONS"), launch));
    if (!launch.runtime_dir.empty()) set(out, "HAKMEM_RUNTIME_DIR", launch.runtime_dir);
    set(out, "HAKMEM_CHILDREN", launch.children ? "" : "none");
    return out;
}

std::string find_library(const std::string &name) {
    namespace fs = std::filesystem;
    std::vector<fs::path> folders;
    if (const char *dir = std::getenv("HAKMEM_LIBDIR"); dir != nullptr && dir[0] != '\0') {
        folders.emplace_back(dir);
    } else {
        std::error_code error;
        const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
        folders = {here / ".." / "src", here / ".." / HAKMEM_LIBDIR, here / ".." / "lib"};
    }
    std::string looked;
    for (const fs::path &folder : folders) {
        std::error_code error;
        const fs::path path = fs::canonical(folder / name, error);
        if (error) {
            looked += (looked.empty() ? "" : ", ") + folder.lexically_normal().string();
            continue;
        }
        if (path.string().find_first_of(kSeparators) != std::string::npos)
            throw CommandError("cannot preload " + path.string() +
                               ": LD_PRELOAD takes no path with a space or a colon");
        return path.string();
    }
    throw CommandError("cannot find " + name + "; looked in " + looked);
}

}  // namespace hakmem
