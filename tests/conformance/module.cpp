// A C++ module for C programs: its runtime comes with it, and is in no scope but its own.
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

int handler_calls = 0;

void *ask(std::size_t bytes) { return ::operator new(bytes); }

}  // namespace

// 0 if operator new throws what it should, in a program that has no C++ runtime of its own.
extern "C" __attribute__((visibility("default"))) int throws_as_it_should() {
    constexpr std::size_t kTooMuch = static_cast<std::size_t>(PTRDIFF_MAX) + 1;
    try {
        ask(kTooMuch);
        return 1;
    } catch (const std::bad_alloc &) {
    }
    std::set_new_handler([] {
        ++handler_calls;
        throw std::bad_alloc();
    });
    try {
        if (::operator new(kTooMuch, std::nothrow) != nullptr) return 2;
    } catch (const std::bad_alloc &) {
        return 3;
    }
    return handler_calls == 1 ? 0 : 4;
}

// Frees the program's block, and hands out one of its own.
extern "C" __attribute__((visibility("default"))) void *free_and_make(void *block) {
    std::free(block);
    return std::malloc(1000);
}
