#include "diag/runtime_dir.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/text.h"

namespace hakmem {
namespace {

bool given(const char *text) { return text != nullptr && *text != '\0'; }

// False where the path is too long.
bool make_absolute(const char *path, char (&out)[kMaxPath]) {
    Text text(out, sizeof out);
    if (*path != '/') {
        char here[kMaxPath];
        if (getcwd(here, sizeof here) == nullptr) return false;
        text.put(here).put('/');
    }
    text.put(path);
    return !text.full();
}

void fail(RuntimeDir &dir, const char *error, int error_number = 0) {
    if (dir.fd >= 0) close(dir.fd);
    dir.fd = -1;
    dir.error = error;
    dir.error_number = error_number;
}

void open_named(RuntimeDir &dir, const char *path) {
    if (!make_absolute(path, dir.path)) return fail(dir, "path too long");
    if (mkdir(dir.path, 0700) != 0 && errno != EEXIST) return fail(dir, "can't be made", errno);
    dir.fd = open(dir.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir.fd < 0) return fail(dir, "can't be opened", errno);
    if (faccessat(dir.fd, ".", W_OK | X_OK, AT_EACCESS) != 0) return fail(dir, "isn't writable", errno);
}

// A name in a directory that everybody may write to: somebody else may have been there first.
void open_in_temporary(RuntimeDir &dir, const char *path, uid_t uid) {
    if (mkdir(path, 0700) != 0 && errno != EEXIST) return fail(dir, "can't be made", errno);
    dir.fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir.fd < 0)
        return fail(dir, errno == ENOTDIR || errno == ELOOP ? "isn't a directory" : "can't be opened", errno);
    struct stat status {};
    if (fstat(dir.fd, &status) != 0) return fail(dir, "can't be examined", errno);
    if (status.st_uid != uid) return fail(dir, "belongs to another user");
    if ((status.st_mode & 07777) != 0700 && fchmod(dir.fd, 0700) != 0) return fail(dir, "can't be made private", errno);
}

void put_temporary_path(Text &path, const char *temporary, uid_t uid) {
    path.put(temporary).put("/hakmem-").decimal(uid);
}

}  // namespace

RuntimeDir open_runtime_dir(const RuntimeDirRequest &request) {
    RuntimeDir dir;
    // What the user named is used or refused, never replaced: the exporter looks there.
    if (given(request.option)) {
        open_named(dir, request.option);
        return dir;
    }
    if (given(request.environment)) {
        open_named(dir, request.environment);
        return dir;
    }
    if (given(request.system_dir) && faccessat(AT_FDCWD, request.system_dir, W_OK | X_OK, AT_EACCESS) == 0) {
        open_named(dir, request.system_dir);
        if (dir.fd >= 0) return dir;
    }
    if (given(request.xdg_runtime_dir) && *request.xdg_runtime_dir == '/') {
        TextBuffer<kMaxPath> path;
        path.put(request.xdg_runtime_dir).put("/hakmem");
        dir = {};
        if (!path.full()) open_named(dir, path.c_str());
        if (dir.fd >= 0) return dir;
    }
    dir = {};
    Text path(dir.path, sizeof dir.path);
    put_temporary_path(path, request.temporary, request.uid);
    open_in_temporary(dir, dir.path, request.uid);
    return dir;
}

RuntimeDir reopen_runtime_dir(const char *path, uid_t uid) {
    RuntimeDir dir;
    TextBuffer<kMaxPath> temporary;
    put_temporary_path(temporary, RuntimeDirRequest{}.temporary, uid);
    if (std::strcmp(path, temporary.c_str()) == 0) {
        Text(dir.path, sizeof dir.path).put(path);
        open_in_temporary(dir, dir.path, uid);
    } else {
        open_named(dir, path);
    }
    return dir;
}

}  // namespace hakmem
