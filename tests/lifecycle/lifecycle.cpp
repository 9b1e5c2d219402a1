// lifecycle CASE [ARGUMENT]: what happens to a program and its threads between its first and its last allocation.
// Every case is correct. A wrong byte, a failed call or a lost thread ends it by abort with a word on stderr.
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "workload.h"

extern char **environ;
extern "C" void *__libc_malloc(size_t);

namespace {

using lifecycle::check;
using lifecycle::work;

const char *self = nullptr;

void wait_for(pid_t child, int wanted = 0) {
    check(child > 0, "no child");
    int status = 0;
    check(waitpid(child, &status, 0) == child, "waitpid");
    if (status != wanted) fprintf(stderr, "lifecycle: status %#x, wanted %#x\n", status, wanted);
    check(status == wanted, "the child has failed");
}

// Threads that work until the object goes.
class Busy {
  public:
    explicit Busy(unsigned threads) {
        for (unsigned i = 0; i < threads; ++i)
            threads_.emplace_back([this, i] {
                for (unsigned round = 0; !stop_; ++round) work(i * 1000 + round, 300);
            });
    }
    ~Busy() {
        stop_ = true;
        for (std::thread &thread : threads_) thread.join();
    }

  private:
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
};

// A wrong free on the way, where it is asked for, so that the diagnosis has to do without as well.
void free_a_static(const char *wanted) {
    if (wanted == nullptr) return;
    static char area[64];
    char *block = area + 16;
    asm volatile("" : "+r"(block));
    free(block);
}

// ---- fork and its relatives ----

void fork_thousand(const char *) {
    Busy busy(1);
    std::vector<void *> inherited;
    for (int i = 0; i < 100; ++i) inherited.push_back(malloc(static_cast<std::size_t>(i) * 50));
    for (unsigned i = 0; i < 1000; ++i) {
        const pid_t child = fork();
        if (child == 0) {
            for (void *block : inherited) free(block);
            work(i, 50);
            if (i % 100 == 0) std::thread([i] { work(i, 100); }).join();
            _exit(0);
        }
        wait_for(child);
    }
    for (void *block : inherited) free(block);
}

void fork_from_many_threads(const char *) {
    Busy busy(2);
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 8; ++t)
        threads.emplace_back([t] {
            for (unsigned i = 0; i < 20; ++i) {
                work(t * 100 + i, 50);
                const pid_t child = fork();
                if (child == 0) {
                    work(i, 100);
                    std::thread([i] { work(i, 100); }).join();
                    _exit(0);
                }
                wait_for(child);
            }
        });
    for (std::thread &thread : threads) thread.join();
}

// glibc's bug 19431, where malloc's locks come before stdio's: readers allocate with a file locked, a flusher has the
// list of files and waits for one of them, and fork wants the list.
void fork_among_files(const char *) {
    char name[] = "/tmp/hakmem-line-XXXXXX";
    const int fd = mkstemp(name);
    const std::string line(50'000, 'x');
    check(fd >= 0 && write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()), "file");
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
        threads.emplace_back([&] {
            FILE *file = fopen(name, "r");
            while (!stop) {
                rewind(file);
                char *text = nullptr;
                std::size_t bytes = 0;
                check(getline(&text, &bytes, file) == static_cast<ssize_t>(line.size()), "getline");
                free(text);
            }
            fclose(file);
        });
    threads.emplace_back([&] {
        while (!stop) fflush(nullptr);
    });
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            while (!stop) {
                const pid_t child = fork();
                if (child == 0) {
                    fclose(fopen("/dev/null", "r"));
                    fflush(nullptr);
                    _exit(0);
                }
                wait_for(child);
            }
        });
    sleep(2);
    stop = true;
    for (std::thread &thread : threads) thread.join();
    close(fd);
    unlink(name);
}

void fork_of_forks(const char *) {
    for (int depth = 0; depth < 12; ++depth) {
        work(static_cast<unsigned>(depth), 200);
        const pid_t child = fork();
        if (child != 0) {
            int status = 0;
            waitpid(child, &status, 0);
            _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
    }
}

void vfork_spawn_exec(const char *) {
    Busy busy(3);
    const char *arguments[] = {self, "short", nullptr};
    for (int i = 0; i < 30; ++i) {
        const pid_t child = vfork();
        if (child == 0) {
            execv(self, const_cast<char **>(arguments));
            _exit(99);
        }
        wait_for(child);
        pid_t spawned = 0;
        check(posix_spawn(&spawned, self, nullptr, nullptr, const_cast<char **>(arguments), environ) == 0,
              "posix_spawn");
        wait_for(spawned);
        FILE *pipe = popen("exit 3", "r");
        check(pipe != nullptr && WEXITSTATUS(pclose(pipe)) == 3, "popen");
    }
}

void exec_among_threads(const char *argument) {
    const int left = argument != nullptr ? atoi(argument) : 20;
    if (left == 0) return;
    // Never joined: exec ends them wherever they are.
    for (unsigned t = 0; t < 4; ++t)
        std::thread([t] {
            for (unsigned round = 0;; ++round) work(t + round, 100);
        }).detach();
    usleep(2000);
    const std::string next = std::to_string(left - 1);
    const char *arguments[] = {self, "exec_among_threads", next.c_str(), nullptr};
    execv(self, const_cast<char **>(arguments));
    lifecycle::fail("exec");
}

void daemonise(const char *) {
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    const pid_t first = fork();
    if (first == 0) {
        setsid();
        if (fork() != 0) _exit(0);
        // As daemons do: no file is kept, and what is opened next gets the lowest numbers.
        const int report = fcntl(ends[1], F_DUPFD, 200);
        for (int fd = 0; fd < 200; ++fd) close(fd);
        check(chdir("/") == 0, "chdir");
        umask(0777);
        for (int fd = 0; fd < 3; ++fd) check(open("/dev/null", O_RDWR) == fd, "somebody has taken a descriptor");
        std::thread([] { work(1, 2000); }).join();
        work(2, 2000);
        const pid_t child = fork();
        if (child == 0) {
            work(3, 200);
            _exit(0);
        }
        wait_for(child);
        check(write(report, "well", 4) == 4, "write");
        _exit(0);
    }
    wait_for(first);
    close(ends[1]);
    char answer[5] = {};
    check(read(ends[0], answer, 4) == 4 && strcmp(answer, "well") == 0, "the daemon has not reported");
}

void no_descriptor_is_kept(const char *) {
    work(1, 1000);
    std::thread([] { work(2, 100); }).join();
    for (int fd = 3; fd < 1000; ++fd) check(fcntl(fd, F_GETFD) < 0, "a descriptor is open");
    check(open("/dev/null", O_RDONLY) == 3, "descriptor 3 is taken");
}

// Numbers that were somebody else's are the program's now: nobody writes to these files or reads from them.
void descriptors_are_the_programs(const char *bad_free) {
    work(1, 100);
    char text[] = "/tmp/lifecycle-XXXXXX";
    const int file = mkstemp(text);
    int ends[2];
    check(file >= 0 && unlink(text) == 0 && pipe(ends) == 0, "files");
    const int last = fcntl(ends[1], F_DUPFD, 100);
    check(write(last, "unread", 6) == 6, "write");
    for (int fd = 3; fd < 10; ++fd)
        check(fd == file || fd == ends[0] || dup2(fd % 2 == 0 ? file : ends[0], fd) == fd, "dup2");
    // On stacks that nobody has unwound yet.
    for (unsigned i = 0; i < 5; ++i)
        std::thread([=] {
            free_a_static(bad_free);
            work(i, 500);
        }).join();
    struct stat status {};
    check(fstat(file, &status) == 0 && status.st_size == 0, "somebody has written to the program's file");
    char answer[8] = {};
    check(read(ends[0], answer, 6) == 6 && strcmp(answer, "unread") == 0, "somebody has read from the program's pipe");
}

// ---- threads ----

void ten_thousand_threads(const char *) {
    for (unsigned i = 0; i < 10000; ++i) {
        void *block = nullptr;
        std::thread([i, &block] {
            block = malloc(i % 500);
            if (i % 100 == 0) work(i, 100);
        }).join();
        free(block);
    }
}

void five_hundred_at_once(const char *) {
    for (int round = 0; round < 3; ++round) {
        std::atomic<unsigned> ready{0};
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 500; ++i)
            threads.emplace_back([i, &ready] {
                void *block = malloc(i + 1);
                ++ready;
                while (ready < 500) std::this_thread::yield();
                work(i, 50);
                free(block);
            });
        for (std::thread &thread : threads) thread.join();
    }
}

struct LateString {
    std::string text = std::string(300, 'a');
    ~LateString() {
        text += std::string(1000, 'b');
        work(text.size(), 20);
    }
};
thread_local LateString late_string;
void first_block_is_aligned(const char *) {
    for (unsigned i = 0; i < 2000; ++i) {
        std::thread([i] {
            void *block = aligned_alloc(std::size_t{32} << i % 8, i % 4 == 0 ? 4090 : i % 3000 + 1);
            check(block != nullptr && reinterpret_cast<std::uintptr_t>(block) % (std::size_t{32} << i % 8) == 0,
                  "alignment");
            memset(block, 1, i % 4 == 0 ? 4090 : i % 3000 + 1);
            if (i % 2 == 0) block = realloc(block, i % 5000 + 1);
            check(block != nullptr, "no memory");
            free(block);
        }).join();
    }
}

// Of a block that another thread made, which grows and shrinks where it is.
void first_call_is_realloc(const char *) {
    for (std::size_t bytes : {std::size_t{20'000}, std::size_t{100'000}, std::size_t{3} << 20}) {
        for (std::size_t next : {bytes + bytes / 8, bytes + 1, bytes - bytes / 4, bytes / 3}) {
            auto *block = static_cast<unsigned char *>(malloc(bytes));
            check(block != nullptr, "no memory");
            memset(block, 7, bytes);
            std::thread([&] {
                block = static_cast<unsigned char *>(realloc(block, next));
                check(block != nullptr, "no memory");
            }).join();
            const std::size_t kept = bytes < next ? bytes : next;
            check(block[0] == 7 && block[kept - 1] == 7, "contents");
            free(block);
        }
    }
}

pthread_key_t keys[8];
void key_destructor(void *value) {
    auto *rounds = static_cast<unsigned *>(value);
    if (++*rounds < 8) {
        // Comes back, and dies in another block than it lived in.
        auto *again = static_cast<unsigned *>(malloc(sizeof(unsigned) + *rounds * 40));
        *again = *rounds;
        pthread_setspecific(keys[*rounds], again);
    }
    free(rounds);
}

void threads_end_in_every_way(const char *) {
    for (auto &key : keys) check(pthread_key_create(&key, key_destructor) == 0, "key");
    for (unsigned i = 0; i < 300; ++i) {
        pthread_t thread;
        check(pthread_create(
                  &thread, nullptr,
                  [](void *argument) -> void * {
                      const auto way = reinterpret_cast<std::uintptr_t>(argument) % 3;
                      late_string.text += 'c';
                      pthread_setspecific(keys[0], calloc(1, 64));
                      pthread_setspecific(keys[5], calloc(1, 6400));
                      if (way == 1) pthread_exit(malloc(10));
                      if (way == 2)
                          for (;;) {
                              pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
                              work(7, 20);
                              pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
                              pthread_testcancel();
                          }
                      return malloc(20);
                  },
                  reinterpret_cast<void *>(std::uintptr_t{i})) == 0,
              "pthread_create");
        if (i % 3 == 2) pthread_cancel(thread);
        void *result = nullptr;
        pthread_join(thread, &result);
        if (result != PTHREAD_CANCELED) free(result);
    }
}

// A cancellation that waits for the thread meets it behind malloc_stats, not within.
void statistics_are_not_cancelled(const char *) {
    int ends[2];
    check(pipe(ends) == 0, "pipe");
    const int kept = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    pthread_t thread;
    const auto run = [](void *) -> void * {
        pthread_cancel(pthread_self());
        malloc_stats();
        pthread_testcancel();
        return nullptr;
    };
    check(pthread_create(&thread, nullptr, run, nullptr) == 0, "pthread_create");
    void *result = nullptr;
    pthread_join(thread, &result);
    dup2(kept, STDERR_FILENO);
    close(ends[1]);
    char text[4096];
    const ssize_t bytes = read(ends[0], text, sizeof text);
    check(result == PTHREAD_CANCELED, "was not cancelled");
    check(bytes > 0 && text[bytes - 1] == '\n', "malloc_stats wrote no whole line");
}

void small_stacks(const char *) {
    for (const std::size_t bytes : {std::size_t{PTHREAD_STACK_MIN}, std::size_t{20} << 10, std::size_t{32} << 10}) {
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        check(pthread_attr_setstacksize(&attributes, bytes) == 0, "stack size");
        for (int i = 0; i < 50; ++i) {
            pthread_t thread;
            check(pthread_create(
                      &thread, &attributes, [](void *) -> void * { return work<20>(1, 200), nullptr; }, nullptr) == 0,
                  "pthread_create");
            pthread_join(thread, nullptr);
        }
    }
}

ucontext_t scheduler, coroutine;
void in_coroutine() {
    for (unsigned i = 0; i < 20; ++i) {
        work<20>(i, 50);
        swapcontext(&coroutine, &scheduler);
    }
}
void coroutines(const char *) {
    for (const std::size_t bytes : {std::size_t{12} << 10, std::size_t{16} << 10, std::size_t{64} << 10}) {
        // Between pages that nobody may touch: an unwinder that reads on past the stack would fault.
        auto *area = static_cast<char *>(mmap(nullptr, bytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        check(mprotect(area + 4096, bytes, PROT_READ | PROT_WRITE) == 0, "mprotect");
        for (int round = 0; round < 5; ++round) {
            getcontext(&coroutine);
            coroutine.uc_stack.ss_sp = area + 4096;
            coroutine.uc_stack.ss_size = bytes;
            coroutine.uc_link = &scheduler;
            makecontext(&coroutine, in_coroutine, 0);
            for (unsigned i = 0; i < 21; ++i) swapcontext(&scheduler, &coroutine);
        }
        munmap(area, bytes + 8192);
    }
}

// ---- the end ----

std::string *freed_at_exit = nullptr;
struct Static {
    std::vector<std::string> strings = std::vector<std::string>(100, std::string(100, 's'));
    ~Static() {
        work(1, 200);
        strings.clear();
    }
};
void exit_frees(const char *) {
    static Static last;
    freed_at_exit = new std::string(1000, 'e');
    atexit([] {
        delete freed_at_exit;
        work(2, 200);
    });
    on_exit([](int, void *block) { free(block); }, malloc(123));
    std::thread([] {
        for (unsigned round = 0;; ++round) work(round, 100);
    }).detach();
    usleep(1000);
    exit(0);
}

// Blocks that glibc's own malloc made, as for code that calls it by its inner name.
void blocks_of_glibc(const char *) {
    const auto each_size = [] {
        for (const size_t bytes : {size_t{24}, size_t{3000}, size_t{1} << 20}) {
            free(__libc_malloc(bytes));
            auto *block = static_cast<unsigned char *>(__libc_malloc(bytes));
            check(malloc_usable_size(block) >= bytes, "usable size of a block of glibc's");
            memset(block, 0x5a, bytes);
            block = static_cast<unsigned char *>(realloc(block, 2 * bytes));
            for (size_t i = 0; i < bytes; ++i) check(block[i] == 0x5a, "a byte was lost in realloc");
            free(block);
        }
    };
    each_size();
    std::thread(each_size).join();  // in an arena of its own
}

// ---- loading ----

void load_and_unload(const char *plugin) {
    Busy busy(3);
    for (int i = 0; i < 150; ++i) {
        void *handle = dlopen(plugin, i % 2 == 0 ? RTLD_NOW : RTLD_LAZY);
        check(handle != nullptr, "dlopen");
        auto *call = reinterpret_cast<void *(*)(std::size_t)>(dlsym(handle, "plugin_block"));
        void *block = call(static_cast<std::size_t>(i) * 10);
        // What a module has allocated outlives it.
        check(dlclose(handle) == 0, "dlclose");
        free(block);
    }
}

// ---- signals ----

sigjmp_buf out;
volatile sig_atomic_t handled = 0;
void install(int signal, void (*handler)(int), int flags = 0) {
    struct sigaction action {};
    action.sa_handler = handler;
    action.sa_flags = flags;
    check(sigaction(signal, &action, nullptr) == 0, "sigaction");
}

void handlers_allocate_and_jump(const char *) {
    install(SIGUSR1, [](int) {
        work<20>(5, 50);
        handled = handled + 1;
        siglongjmp(out, 1);
    });
    for (int i = 0; i < 300; ++i) {
        void *block = malloc(100);
        if (sigsetjmp(out, 1) == 0) raise(SIGUSR1);
        free(block);
    }
    check(handled == 300, "handler");
}

__attribute__((noinline)) int recurse(int depth) {
    volatile char frame[4096];
    frame[depth % 4096] = 1;
    return depth > 1 << 28 ? 0 : recurse(depth + 1) + frame[0];
}
void stack_overflow_on_alternate_stack(const char *) {
    std::vector<char> memory(64 << 10);
    const stack_t alternate{memory.data(), 0, memory.size()};
    check(sigaltstack(&alternate, nullptr) == 0, "sigaltstack");
    install(
        SIGSEGV,
        [](int) {
            handled = handled + 1;
            siglongjmp(out, 1);
        },
        SA_ONSTACK);
    for (int i = 0; i < 20; ++i) {
        if (sigsetjmp(out, 1) == 0) recurse(1);
        work(static_cast<unsigned>(i), 100);
    }
    for (int i = 0; i < 20; ++i) {
        if (sigsetjmp(out, 1) == 0) *reinterpret_cast<volatile char *>(std::uintptr_t{8} + handled % 8) = 1;
        work(static_cast<unsigned>(i), 100);
    }
    check(handled == 40, "handler");
}

void own_faults_end_the_process(const char *) {
    for (const int number : {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGTRAP}) {
        const pid_t child = fork();
        if (child == 0) {
            const rlimit none{0, 0};
            setrlimit(RLIMIT_CORE, &none);
            if (number == SIGSEGV) *reinterpret_cast<volatile char *>(std::uintptr_t{16}) = 1;
            raise(number);
            _exit(0);
        }
        wait_for(child, number);
    }
}

void interval_timer(const char *) {
    install(SIGALRM, [](int) { handled = handled + 1; });
    itimerval every{{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &every, nullptr);
    for (unsigned i = 0; i < 30; ++i) {
        work(i, 2000);
        const pid_t child = fork();
        if (child == 0) {
            work(i, 100);
            _exit(0);
        }
        int status = 1;
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        check(status == 0, "the child has failed");
    }
    check(handled > 5, "no signal came");
}

// ---- rights and limits ----

void work_on() {
    Busy busy(2);
    for (unsigned i = 0; i < 10; ++i) {
        work(i, 2000);
        const pid_t child = fork();
        if (child == 0) {
            std::thread([] { work(1, 100); }).join();
            _exit(0);
        }
        wait_for(child);
    }
}

void drop_rights(const char *) {
    work(1, 100);
    check(setgid(65534) == 0 && setuid(65534) == 0, "setuid");
    work_on();
}

void change_root(const char *directory) {
    work(1, 100);
    check(chroot(directory) == 0 && chdir("/") == 0, "chroot");
    work_on();
}

// From now on these calls answer EPERM.
void forbid(std::initializer_list<unsigned> calls) {
    std::vector<sock_filter> filter = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0)};
    for (const unsigned call : calls) {
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1));
        filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    check(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0, "seccomp");
}

void seccomp_later(const char *bad_free) {
    work(1, 100);
    forbid({SYS_mincore, SYS_madvise, SYS_open, SYS_openat, SYS_process_vm_readv, SYS_readlink, SYS_fallocate,
            SYS_ftruncate, SYS_mremap});
    free_a_static(bad_free);
    work_on();
}

void seccomp_from_the_start(const char *bad_free) {
    forbid({SYS_mincore, SYS_madvise, SYS_process_vm_readv, SYS_process_vm_writev, SYS_fallocate, SYS_ftruncate,
            SYS_mremap, SYS_renameat2, SYS_mkdir, SYS_getrandom});
    const char *arguments[] = {self, "after_seccomp", bad_free, nullptr};
    execv(self, const_cast<char **>(arguments));
    lifecycle::fail("exec");
}
void after_seccomp(const char *bad_free) {
    free_a_static(bad_free);
    work_on();
}

void limits(const char *) {
    const rlimit none{0, RLIM_INFINITY};
    check(setrlimit(RLIMIT_FSIZE, &none) == 0 && setrlimit(RLIMIT_CORE, &none) == 0, "setrlimit");
    const rlimit three{3, 3};
    check(setrlimit(RLIMIT_NOFILE, &three) == 0, "setrlimit");
    work_on();
}

void short_of_address_space(const char *) {
    work(1, 1000);
    char text[64] = {};
    const int fd = open("/proc/self/statm", O_RDONLY);
    check(read(fd, text, sizeof text - 1) > 0, "statm");
    close(fd);
    const rlim_t room = static_cast<rlim_t>(atol(text)) * 4096 + (24u << 20);
    const rlimit limit{room, room};
    check(setrlimit(RLIMIT_AS, &limit) == 0, "setrlimit");
    std::vector<void *> hoard;
    hoard.reserve(100000);
    for (unsigned round = 0; round < 20; ++round) {
        while (hoard.size() < 100000) {
            void *block = malloc(round % 2 == 0 ? 50000 : 900);
            if (block == nullptr) break;
            hoard.push_back(block);
        }
        work(round, 500, true);
        for (std::size_t i = hoard.size() / 2; i < hoard.size(); ++i) free(hoard[i]);
        hoard.resize(hoard.size() / 2);
        work(round, 500, true);
    }
    for (void *block : hoard) free(block);
}

// Waves of 12 MiB, of another size of block each, in all a hundred times what a small limit of the cgroup allows to
// keep.
void waves(const char *) {
    constexpr std::size_t kWave = 12u << 20;
    constexpr std::size_t kSizes[] = {40, 5000, 300, 100'000, 90, 20'000, 1500, 3u << 20};
    for (unsigned round = 0; round < 100; ++round) {
        const std::size_t bytes = kSizes[round % std::size(kSizes)];
        std::vector<char *> blocks(kWave / bytes);
        for (char *&block : blocks) {
            block = static_cast<char *>(malloc(bytes));
            check(block != nullptr, "malloc");
            memset(block, static_cast<int>(round), bytes);
        }
        for (std::size_t i = 0; i < blocks.size(); i += 2) free(blocks[i]);
        for (std::size_t i = 1; i < blocks.size(); i += 2) free(blocks[i]);
    }
}

// All that telemetry can need: threads, stacks, modules, children. For runs with too small a runtime dir.
void much_to_tell(const char *bad_free) {
    for (int round = 0; round < 3; ++round) {
        std::vector<std::thread> threads;
        for (unsigned i = 0; i < 60; ++i) threads.emplace_back([i] { work(i, 200); });
        for (std::thread &thread : threads) thread.join();
        free_a_static(bad_free);
        work_on();
    }
}

void short_run(const char *) { work(1, 200); }

struct Case {
    const char *name;
    void (*run)(const char *argument);
};
#define CASE(name) \
    { #name, name }
constexpr Case kCases[] = {
    CASE(fork_thousand),
    CASE(fork_from_many_threads),
    CASE(fork_among_files),
    CASE(fork_of_forks),
    CASE(vfork_spawn_exec),
    CASE(exec_among_threads),
    CASE(daemonise),
    CASE(no_descriptor_is_kept),
    CASE(descriptors_are_the_programs),
    CASE(ten_thousand_threads),
    CASE(five_hundred_at_once),
    CASE(threads_end_in_every_way),
    CASE(first_block_is_aligned),
    CASE(first_call_is_realloc),
    CASE(statistics_are_not_cancelled),
    CASE(small_stacks),
    CASE(coroutines),
    CASE(exit_frees),
    CASE(blocks_of_glibc),
    CASE(load_and_unload),
    CASE(handlers_allocate_and_jump),
    CASE(stack_overflow_on_alternate_stack),
    CASE(own_faults_end_the_process),
    CASE(interval_timer),
    CASE(drop_rights),
    CASE(change_root),
    CASE(seccomp_later),
    CASE(seccomp_from_the_start),
    CASE(after_seccomp),
    CASE(limits),
    CASE(short_of_address_space),
    CASE(waves),
    CASE(much_to_tell),
    {"short", short_run},
};

}  // namespace

int main(int argc, char **argv) {
    self = argv[0];
    for (const Case &test : kCases) {
        if (argc < 2 || strcmp(argv[1], test.name) != 0) continue;
        test.run(argc > 2 ? argv[2] : nullptr);
        puts("ok");
        return 0;
    }
    for (const Case &test : kCases) puts(test.name);
    return 2;
}
