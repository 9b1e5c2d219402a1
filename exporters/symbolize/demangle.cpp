#include "symbolize/demangle.h"

#include <cxxabi.h>
#define HAVE_DECL_BASENAME 1  // libc's and not libiberty's, which its header declares otherwise
#include <libiberty/demangle.h>

#include <cstdlib>

namespace hakmem {

std::string demangle(const char *symbol) {
    // Rust's older names are C++'s by form, with a hash at the end: only Rust's demangler tells them and their escapes.
    char *demangled = rust_demangle(symbol, 0);
    int status = 0;
    if (demangled == nullptr && symbol[0] == '_' && symbol[1] == 'Z')
        demangled = abi::__cxa_demangle(symbol, nullptr, nullptr, &status);
    if (demangled == nullptr) return symbol;
    std::string name = demangled;
    std::free(demangled);
    return name;
}

}  // namespace hakmem
