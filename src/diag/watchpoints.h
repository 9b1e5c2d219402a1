// The processor's watchpoints (perf_event_open, type breakpoint): addresses at which a write becomes a SIGTRAP in the
// writing thread at the writing instruction. A thread has four. Needs no privilege at perf_event_paranoid 2; where the
// kernel lets us, writes that it makes for a system call (read, recv) count as well.
//
// An event watches one thread. Moving a thread's own is a system call of a microsecond; moving that of a thread which
// runs on another processor interrupts it there. So two of the four are for all threads and seldom move, and two are
// each thread's own. Each costs a file descriptor, kept high up and out of the program's way.
#pragma once

#include <cstdint>

namespace hakmem {

// One address that one thread watches, and the threads that it creates later if so wished.
class Watchpoint {
  public:
    // Marks ours among other events that send SIGTRAP.
    static constexpr std::uint64_t kMark = 0x68616b6d656d;

    enum class Heirs { none, threads };

    // Of the thread `tid`, 0 is the calling one; watches nothing yet. False where the kernel refuses.
    bool open(std::int32_t tid, Heirs heirs);
    void close();

    // It watches `address` from now on; 0: nothing. False if the event is no longer there: a program may close every
    // descriptor that it does not know.
    bool move(std::uintptr_t address);

    // Whether the kernel gives any: to be asked before the first is opened.
    static bool available();
    // Whether the calling thread may try: under a seccomp filter of its own the attempt may mean death.
    static bool may_be_tried();

  private:
    int fd_ = 0;
    Heirs heirs_ = Heirs::none;
    std::uint64_t id_ = 0;  // of the event; 0: none is open
};

// The same two addresses in all threads that there are, and in those that these create.
class SharedWatchpoints {
  public:
    static constexpr unsigned kPlaces = 2;

    // False where the kernel refuses; nothing is left open then. Not to be called by two threads at once, nor while
    // another moves.
    bool open();
    void close();

    // As Watchpoint::move. Two threads may move the two at once.
    bool move(unsigned place, std::uintptr_t address);

  private:
    static constexpr unsigned kMostThreads = 64;

    struct Watch {
        std::int32_t tid;
        Watchpoint points[kPlaces];
    };

    bool watches(std::int32_t tid) const;
    bool add_thread(std::int32_t tid);
    bool add_new_threads();

    Watch watches_[kMostThreads] = {};
    unsigned threads_ = 0;
};

}  // namespace hakmem
