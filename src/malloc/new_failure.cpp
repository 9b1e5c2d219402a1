#include "malloc/new_failure.h"

#include <dlfcn.h>

#include <new>

namespace hakmem {

namespace {

constexpr const char *kRuntimes[] = {"libstdc++.so.6", "libc++abi.so.1"};

// A function of the program's C++ runtime, looked up from `scope`. A runtime that came with a module which a C program
// loaded privately is in no scope of ours.
void *runtime_function(void *scope, const char *name) {
    if (void *found = dlsym(scope, name)) return found;
    for (const char *library : kRuntimes) {
        void *runtime = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
        if (runtime == nullptr) continue;
        void *found = dlsym(runtime, name);
        dlclose(runtime);
        if (found != nullptr) return found;
    }
    return nullptr;
}

using Handler = void (*)();

Handler new_handler() {
    auto *get = reinterpret_cast<Handler (*)()>(runtime_function(RTLD_DEFAULT, "_ZSt15get_new_handlerv"));
    return get != nullptr ? get() : nullptr;
}

}  // namespace

bool call_new_handler() {
    const Handler handler = new_handler();
    if (handler == nullptr) return false;
    handler();
    return true;
}

void throw_bad_alloc() {
    if (auto *thrower = reinterpret_cast<void (*)()>(runtime_function(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv")))
        thrower();
}

void *new_without_throwing(std::size_t bytes, std::size_t alignment, Family family) {
    if (new_handler() == nullptr) return nullptr;
    const bool array = family == Family::new_array;
    if (alignment == 0) {
        using New = void *(*)(std::size_t, const std::nothrow_t &);
        auto *call =
            reinterpret_cast<New>(runtime_function(RTLD_NEXT, array ? "_ZnamRKSt9nothrow_t" : "_ZnwmRKSt9nothrow_t"));
        return call != nullptr ? call(bytes, std::nothrow_t{}) : nullptr;
    }
    using New = void *(*)(std::size_t, std::align_val_t, const std::nothrow_t &);
    auto *call = reinterpret_cast<New>(runtime_function(
        RTLD_NEXT, array ? "_ZnamSt11align_val_tRKSt9nothrow_t" : "_ZnwmSt11align_val_tRKSt9nothrow_t"));
    return call != nullptr ? call(bytes, static_cast<std::align_val_t>(alignment), std::nothrow_t{}) : nullptr;
}

}  // namespace hakmem
