// A futex mutex of one word, valid at zero. Waiters sleep after a short spin: a holder may be preempted, and a spinning
// waiter would burn its whole time slice. Not recursive. Never held while unwinding.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace hakmem {

class Lock {
  public:
    void lock() {
        std::uint32_t expected = kFree;
        if (!word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire)) lock_contended();
    }
    bool try_lock() {
        std::uint32_t expected = kFree;
        return word_.compare_exchange_strong(expected, kHeld, std::memory_order_acquire);
    }
    void unlock() {
        if (word_.exchange(kFree, std::memory_order_release) == kContended) wake();
    }
    // After fork, in the child: the word may say that a thread waits which the child does not have.
    void reset() { word_.store(kFree, std::memory_order_relaxed); }

  private:
    static constexpr std::uint32_t kFree = 0, kHeld = 1, kContended = 2;

    [[gnu::noinline, gnu::cold]] void lock_contended() {
        for (int spin = 0; spin < 100; ++spin) {
            std::uint32_t expected = kFree;
            if (word_.load(std::memory_order_relaxed) == kFree &&
                word_.compare_exchange_weak(expected, kHeld, std::memory_order_acquire))
                return;
#if defined(__x86_64__)
            __builtin_ia32_pause();
#elif defined(__aarch64__)
            asm volatile("yield");
#endif
        }
        const int saved_errno = errno;
        while (word_.exchange(kContended, std::memory_order_acquire) != kFree)
            syscall(SYS_futex, &word_, FUTEX_WAIT_PRIVATE, kContended, nullptr, nullptr, 0);
        errno = saved_errno;
    }
    [[gnu::noinline, gnu::cold]] void wake() {
        const int saved_errno = errno;
        syscall(SYS_futex, &word_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
        errno = saved_errno;
    }

    std::atomic<std::uint32_t> word_{kFree};
};

class LockGuard {
  public:
    explicit LockGuard(Lock &lock) : lock_(lock) { lock_.lock(); }
    ~LockGuard() { lock_.unlock(); }
    LockGuard(const LockGuard &) = delete;
    LockGuard &operator=(const LockGuard &) = delete;

  private:
    Lock &lock_;
};

}  // namespace hakmem
