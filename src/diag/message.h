// Lines on stderr from inside somebody else's process: "hakmem: " before, one write(2) each so that lines of several
// threads or processes don't mix, errno kept.
#pragma once

namespace hakmem {

void print_line(const char *text);

// The same as a LineSink (options.h).
void print_line(void *context, const char *text);

}  // namespace hakmem
