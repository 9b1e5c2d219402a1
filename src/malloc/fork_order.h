// The order of locks around fork. libc's fork runs the handlers first and takes stdio's list of files after them, while
// a thread in fflush(NULL) holds that list and waits for a file, whose holder, in getline, waits for a lock of ours
// that the handler holds. glibc's own malloc is locked last for this reason; a handler can only take the list before
// its own locks. It is recursive, so that fork takes it once more.
#pragma once

extern "C" {
// Exported by glibc, declared nowhere.
[[gnu::weak]] void _IO_list_lock();
[[gnu::weak]] void _IO_list_unlock();
[[gnu::weak]] void _IO_list_resetlock();
}

namespace hakmem {

template <class Allocator>
struct ForkHandlers {
    static void before() {
        if (_IO_list_lock != nullptr) _IO_list_lock();
        Allocator::before_fork();
    }
    static void after_in_parent() {
        Allocator::after_fork_in_parent();
        if (_IO_list_unlock != nullptr) _IO_list_unlock();
    }
    // fork itself has reset the list only if there were more threads; nobody else is here to hold it.
    static void after_in_child() {
        Allocator::after_fork_in_child();
        if (_IO_list_resetlock != nullptr) _IO_list_resetlock();
    }
};

}  // namespace hakmem
