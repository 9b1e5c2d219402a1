// Only in builds with coverage counters (b_coverage), inside the libraries: counters are written when a process exits,
// and much of what the tests run, every forked child to begin with, ends by _exit or by a signal.
#include <sys/syscall.h>
#include <unistd.h>
#include <csignal>

extern "C" void __gcov_dump();
extern "C" void __gcov_reset();

namespace {

void write_counters() {
    __gcov_dump();
    __gcov_reset();  // a child of vfork does this in its parent's memory
}

[[noreturn]] void end(int status) {
    write_counters();
    for (;;) ::syscall(SYS_exit_group, status);
}

void on_signal(int signal) {
    write_counters();
    ::signal(signal, SIG_DFL);
    ::raise(signal);
}

// The program's own handler, if it sets one, takes its place.
[[gnu::constructor]] void catch_the_usual_end() { ::signal(SIGTERM, on_signal); }

}  // namespace

extern "C" [[gnu::visibility("default")]] void _exit(int status) { end(status); }
extern "C" [[gnu::visibility("default")]] void _Exit(int status) { end(status); }
