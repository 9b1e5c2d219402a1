// measure FILE COMMAND [ARG…]: runs COMMAND, passes signals on to it, ends as it does, and adds a line to FILE: seconds
// of processor time (of COMMAND and every process that it waited for), seconds by the clock, KiB resident at the peak
// of the largest of these processes. A small program of its own, as a process's peak includes what it was before exec.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>

namespace {

volatile sig_atomic_t child = 0;

void pass_on(int signal) {
    if (child > 0) kill(child, signal);
}

double seconds(const timeval &time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

}  // namespace

int main(int argc, char **argv) {
    if (argc < 3) {
        std::fprintf(stderr, "use: measure FILE COMMAND [ARG...]\n");
        return 2;
    }
    const auto begin = std::chrono::steady_clock::now();
    constexpr int kPassedOn[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
    sigset_t held, before;
    sigemptyset(&held);
    for (const int signal : kPassedOn) sigaddset(&held, signal);
    sigprocmask(SIG_BLOCK, &held, &before);
    child = fork();
    if (child == 0) {
        sigprocmask(SIG_SETMASK, &before, nullptr);
        execvp(argv[2], argv + 2);
        std::perror(argv[2]);
        _exit(127);
    }
    struct sigaction action = {};
    action.sa_handler = pass_on;
    for (const int signal : kPassedOn) sigaction(signal, &action, nullptr);
    sigprocmask(SIG_SETMASK, &before, nullptr);
    int status = 0;
    rusage usage = {};
    while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
    }
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    if (std::FILE *file = std::fopen(argv[1], "a")) {
        std::fprintf(file, "%.4f %.4f %ld\n", seconds(usage.ru_utime) + seconds(usage.ru_stime), elapsed.count(),
                     usage.ru_maxrss);
        std::fclose(file);
    }
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
