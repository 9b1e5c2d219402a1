#include "diag/message.h"

#include <unistd.h>

#include <cerrno>

#include "base/text.h"

namespace hakmem {

void print_line(const char *text) {
    const int saved_errno = errno;
    TextBuffer<1280> line;
    line.put("hakmem: ").put(text);
    if (line.full()) return void(write(STDERR_FILENO, line.c_str(), line.size()));
    line.put('\n');
    // A program may run with stderr closed or full: nothing to be done about it.
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.c_str(), line.size());
    errno = saved_errno;
}

void print_line(void *, const char *text) { print_line(text); }

}  // namespace hakmem
