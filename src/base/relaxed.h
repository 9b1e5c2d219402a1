// A value that one thread at a time writes, and that others may look at meanwhile without its lock: they see what was
// or what is, never half of each, and learn nothing from it about other memory. A plain load or store to the machine;
// to the language, and to ThreadSanitizer, no data race.
#pragma once

#include <atomic>

namespace hakmem {

template <class T>
class Relaxed {
  public:
    operator T() const { return value_.load(std::memory_order_relaxed); }
    T operator=(T value) {
        value_.store(value, std::memory_order_relaxed);
        return value;
    }
    // For the one who may write: no read-modify-write in one piece.
    void operator+=(T more) { *this = static_cast<T>(*this + more); }
    void operator-=(T less) { *this = static_cast<T>(*this - less); }
    void operator|=(T bits) { *this = static_cast<T>(*this | bits); }
    // For anybody.
    T fetch_or(T bits) { return value_.fetch_or(bits, std::memory_order_relaxed); }
    T fetch_add(T more) { return value_.fetch_add(more, std::memory_order_relaxed); }
    T exchange(T value) { return value_.exchange(value, std::memory_order_relaxed); }

  private:
    std::atomic<T> value_;
    static_assert(std::atomic<T>::is_always_lock_free);
};

}  // namespace hakmem
