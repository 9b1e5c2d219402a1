// Stops a thread behind every single instruction of the allocator, and has another thread look at the heap each time:
// so no window stays unseen in which an audit takes a block that is being made, freed or moved for a corrupt one. A
// call into another library counts as one instruction.
//
//   single_step LIBRARY OPERATION [EVERY [fork|COMMAND]]     "N steps, N audits, no false alarm", or 1 and the place
//
// It runs itself under the preloaded LIBRARY, with the caller's HAKMEM_OPTIONS. There one thread carries out OPERATION
// under ptrace, once before that for what happens only once. EVERY: one step in so many is looked at. fork: what looks
// is a child forked at that point, where the stopped thread never goes on. COMMAND: the shell runs it between the two
// times, $PID is the process.
#include <dlfcn.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

namespace {

struct Operation {
    const char *name;
    void (*run)();
};

// Hides what becomes of the block, so that the compiler keeps the pair.
void use(void *block, std::size_t bytes) {
    if (block == nullptr) abort();
    std::memset(block, 'u', bytes);
    asm volatile("" : : "r"(block) : "memory");
}

template <std::size_t Bytes>
void plain() {
    void *block = malloc(Bytes);
    use(block, Bytes);
    free(block);
}

template <std::size_t Alignment, std::size_t Bytes>
void aligned() {
    void *block = memalign(Alignment, Bytes);
    use(block, Bytes);
    free(block);
}

template <std::size_t From, std::size_t To>
void resized() {
    void *block = malloc(From);
    use(block, From);
    block = realloc(block, To);
    use(block, To);
    free(block);
}

template <std::size_t Bytes>
void zeroed() {
    void *block = calloc(1, Bytes);
    use(block, Bytes);
    free(block);
}

void with_new() {
    auto *object = new char[40];
    use(object, 40);
    delete[] object;
}

// More than a cache holds: spans are made, filled, emptied and given back.
template <std::size_t Bytes, unsigned Count>
void many() {
    static void *blocks[Count];
    for (void *&block : blocks) use(block = malloc(Bytes), Bytes);
    for (void *block : blocks) free(block);
}

// Blocks of the time before are freed, and others made for the time after.
void held() {
    static void *blocks[5];
    for (void *&block : blocks) free(block);
    use(blocks[0] = malloc(24), 24);
    use(blocks[1] = memalign(64, 100), 100);
    use(blocks[2] = malloc(20000), 20000);
    use(blocks[3] = memalign(4096, 100), 100);
    use(blocks[4] = realloc(malloc(3000), 30000), 30000);
}

constexpr Operation kOperations[] = {
    {"small", plain<24>},
    {"middle", plain<3000>},
    {"run", plain<20000>},
    {"mapping", plain<40 << 20>},
    {"aligned", aligned<64, 100>},
    {"page_aligned", aligned<4096, 100>},
    {"aligned_run", aligned<64, 20000>},
    {"far_aligned", aligned<65536, 100>},
    {"grown", resized<24, 400>},
    {"grown_run", resized<20000, 60000>},
    {"shrunk_run", resized<60000, 20000>},
    {"shrunk_in_place", resized<60000, 40000>},
    {"moved_pages", resized<2 << 20, 80 << 20>},
    {"zeroed", zeroed<500>},
    {"new", with_new},
    {"many", many<5000, 40>},
    {"held", held},
};

struct Shared {
    std::atomic<int> mover;  // its thread id, once it waits
    std::atomic<bool> go;
    std::atomic<bool> done;
};

constexpr int kSharedFd = 100, kQuestionFd = 101, kAnswerFd = 102;
enum Answer : char { kClean = 'c', kCorrupt = 'x', kBusy = 'b' };

// ---- under the library ----

Shared *shared;
const Operation *chosen;

void *move(void *) {
    chosen->run();
    shared->mover = static_cast<int>(syscall(SYS_gettid));
    while (!shared->go) {
    }
    chosen->run();
    shared->done = true;
    for (;;) pause();
}

using Audit = int (*)(void *, std::size_t);

Answer look(Audit audit, bool in_child) {
    if (!in_child) {
        const int found = audit(nullptr, 0);
        return found == 0 ? kClean : found > 0 ? kCorrupt : kBusy;
    }
    const pid_t child = fork();
    if (child == 0) {
        plain<24>();
        aligned<64, 100>();
        plain<20000>();
        _exit(audit(nullptr, 0));
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && status == 0 ? kClean : kCorrupt;
}

int watched_process(bool in_child) {
    shared = static_cast<Shared *>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, kSharedFd, 0));
    const auto audit = reinterpret_cast<Audit>(dlsym(RTLD_DEFAULT, "hakmem_v1_audit"));
    if (shared == MAP_FAILED || audit == nullptr) return 3;
    plain<24>();
    pthread_t mover;
    if (pthread_create(&mover, nullptr, move, nullptr) != 0) return 3;
    for (char question;;) {
        const ssize_t got = read(kQuestionFd, &question, 1);
        if (got < 0 && errno == EINTR) continue;
        if (got != 1) return 0;
        const Answer answer = look(audit, in_child);
        if (write(kAnswerFd, &answer, 1) != 1) return 3;
    }
}

// ---- the one that stops it ----

[[noreturn]] void fail(const char *what) {
    std::fprintf(stderr, "single_step: %s: %s\n", what, std::strerror(errno));
    exit(2);
}

class Driver {
  public:
    Driver(int thread, int question, int answer, const char *library)
        : thread_(thread), question_(question), answer_(answer), library_(code_of(library)) {}

    // Waits for the thread's next stop; passes signals of the library's own on.
    void wait_for_stop() {
        int status = 0;
        if (waitpid(thread_, &status, __WALL) != thread_ || !WIFSTOPPED(status)) fail("the thread is gone");
        signal_ = WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status);
    }

    void step() {
        resume(PTRACE_SINGLESTEP);
        ++steps_;
        const std::uint64_t to = registers().rip;
        if (is_stepped(to) || !is_stepped(last_)) {
            last_ = to;
            return;
        }
        // Out into another library: on to where it comes back.
        const std::uint64_t stack = registers().rsp;
        const std::uint64_t back = static_cast<std::uint64_t>(ptrace(PTRACE_PEEKDATA, thread_, stack, nullptr));
        if (!is_stepped(back)) return;
        set_breakpoint(back, 1);
        do resume(PTRACE_CONT);
        while (registers().rip != back || registers().rsp <= stack);
        set_breakpoint(0, 0);
        last_ = back;
    }

    // Has the other thread look. Where it waits for a lock that the stopped thread holds, that one goes on meanwhile.
    void ask() {
        const char question = '?';
        if (write(question_, &question, 1) != 1) fail("write");
        pollfd waiting{answer_, POLLIN, 0};
        for (int patience = kPatienceMs; poll(&waiting, 1, patience) == 0; patience = shared->done ? kPatienceMs : 0)
            if (!shared->done) step();
        char answer = 0;
        if (read(answer_, &answer, 1) != 1) fail("the other thread is gone");
        ++looks_;
        if (answer == kCorrupt) report();
    }

    unsigned long steps() const { return steps_; }
    unsigned long looks() const { return looks_; }
    unsigned long alarms() const { return alarms_; }

  private:
    static constexpr int kPatienceMs = 300;

    struct Code {
        std::uint64_t begin = 0, end = 0;
        std::uint64_t file_offset = 0;
        bool holds(std::uint64_t address) const { return address >= begin && address < end; }
    };

    // The instructions of the mapping whose line in /proc/PID/maps has `name`.
    Code code_of(const char *name) const {
        char path[64], line[512], rights[8];
        std::snprintf(path, sizeof path, "/proc/%d/maps", thread_);
        Code code;
        FILE *maps = std::fopen(path, "r");
        while (maps != nullptr && code.begin == 0 && std::fgets(line, sizeof line, maps) != nullptr) {
            unsigned long begin, end, offset;
            if (std::sscanf(line, "%lx-%lx %7s %lx", &begin, &end, rights, &offset) == 4 &&
                std::strcmp(rights, "r-xp") == 0 && std::strstr(line, name) != nullptr)
                code = {begin, end, offset};
        }
        if (code.begin == 0) fail(name);
        std::fclose(maps);
        return code;
    }

    bool is_stepped(std::uint64_t address) const { return library_.holds(address) || program_.holds(address); }

    void resume(__ptrace_request how) {
        if (ptrace(how, thread_, nullptr, signal_) != 0) fail("ptrace");
        wait_for_stop();
    }

    user_regs_struct registers() const {
        user_regs_struct found{};
        ptrace(PTRACE_GETREGS, thread_, nullptr, &found);
        return found;
    }

    // In the thread's debug registers: the code stays as it is.
    void set_breakpoint(std::uint64_t address, std::uint64_t enabled) {
        if (ptrace(PTRACE_POKEUSER, thread_, offsetof(user, u_debugreg), address) != 0 ||
            ptrace(PTRACE_POKEUSER, thread_, offsetof(user, u_debugreg) + 7 * sizeof(long), enabled) != 0)
            fail("a breakpoint");
    }

    void report() {
        ++alarms_;
        const std::uint64_t at = registers().rip;
        std::printf("false alarm behind step %lu, at 0x%lx of the %s\n", steps_,
                    at - (library_.holds(at) ? library_.begin - library_.file_offset : 0),
                    library_.holds(at) ? "library" : "process");
    }

    int thread_, question_, answer_;
    Code library_, program_{code_of("/single_step")};
    int signal_ = 0;
    std::uint64_t last_ = 0;
    unsigned long steps_ = 0, looks_ = 0, alarms_ = 0;
};

int drive(char **argv, const char *library, unsigned long every, const char *between) {
    int question[2], answer[2];
    const int memory = memfd_create("single_step", 0);
    if (memory < 0 || ftruncate(memory, sizeof(Shared)) != 0 || pipe(question) != 0 || pipe(answer) != 0)
        fail("no shared memory or pipe");
    shared = static_cast<Shared *>(mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0));
    const pid_t process = fork();
    if (process == 0) {
        dup2(memory, kSharedFd);
        dup2(question[0], kQuestionFd);
        dup2(answer[1], kAnswerFd);
        close(question[1]);
        close(answer[0]);
        setenv("LD_PRELOAD", library, 1);
        setenv("HAKMEM_SINGLE_STEP", "1", 1);
        execv("/proc/self/exe", argv);
        _exit(127);
    }
    close(question[0]);
    close(answer[1]);
    int status = 0;
    while (shared->mover == 0) {
        if (waitpid(process, &status, WNOHANG) != 0) fail("the program did not start");
        usleep(1000);
    }
    const int thread = shared->mover;
    if (ptrace(PTRACE_SEIZE, thread, nullptr, PTRACE_O_EXITKILL) != 0) fail("PTRACE_SEIZE");
    if (ptrace(PTRACE_INTERRUPT, thread, nullptr, nullptr) != 0) fail("PTRACE_INTERRUPT");
    Driver driver(thread, question[1], answer[0], library);
    driver.wait_for_stop();
    setenv("PID", std::to_string(process).c_str(), 1);
    if (between != nullptr && system(between) != 0) fail(between);
    shared->go = true;
    while (!shared->done) {
        driver.step();
        if (driver.steps() % every == 0) driver.ask();
    }
    ptrace(PTRACE_DETACH, thread, nullptr, nullptr);
    kill(process, SIGKILL);
    waitpid(process, &status, 0);
    std::printf("%lu steps, %lu audits, ", driver.steps(), driver.looks());
    if (driver.alarms() != 0) {
        std::printf("%lu false alarms\n", driver.alarms());
        return 1;
    }
    std::printf("no false alarm\n");
    return 0;
}

}  // namespace

int main(int argc, char **argv) {
    for (const Operation &operation : kOperations)
        if (argc > 2 && std::strcmp(operation.name, argv[2]) == 0) chosen = &operation;
    if (chosen == nullptr) {
        std::fprintf(stderr, "use: single_step LIBRARY OPERATION [EVERY [fork|COMMAND]]; operations:");
        for (const Operation &operation : kOperations) std::fprintf(stderr, " %s", operation.name);
        std::fputc('\n', stderr);
        return 2;
    }
    const bool in_child = argc > 4 && std::strcmp(argv[4], "fork") == 0;
    if (getenv("HAKMEM_SINGLE_STEP") != nullptr) return watched_process(in_child);
    char *library = realpath(argv[1], nullptr);
    if (library == nullptr) fail(argv[1]);
    return drive(argv, library, argc > 3 ? std::strtoul(argv[3], nullptr, 10) : 1,
                 argc > 4 && !in_child ? argv[4] : nullptr);
}
