#include "malloc/new_failure.h"

#include <dlfcn.h>

namespace hakmem {

bool call_new_handler() {
    using Handler = void (*)();
    auto *get = reinterpret_cast<Handler (*)()>(dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv"));
    const Handler handler = get != nullptr ? get() : nullptr;
    if (handler == nullptr) return false;
    handler();
    return true;
}

void throw_bad_alloc() {
    if (auto *thrower = reinterpret_cast<void (*)()>(dlsym(RTLD_DEFAULT, "_ZSt17__throw_bad_allocv"))) thrower();
}

}  // namespace hakmem
