#include "symbolize/demangle.h"

#include <cxxabi.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string_view>

namespace hakmem {
namespace {

// Rust's older mangling is C++'s with "::h" and 16 hex digits behind the name.
void drop_rust_hash(std::string &name) {
    constexpr std::size_t kHashLength = 3 + 16;
    if (name.size() <= kHashLength) return;
    const std::string_view tail = std::string_view(name).substr(name.size() - kHashLength);
    if (tail.starts_with("::h") && std::all_of(tail.begin() + 3, tail.end(), [](unsigned char c) {
            return std::isdigit(c) != 0 || (c >= 'a' && c <= 'f');
        }))
        name.resize(name.size() - kHashLength);
}

}  // namespace

std::string demangle(const char *symbol) {
    int status = 0;
    char *demangled =
        symbol[0] == '_' && symbol[1] == 'Z' ? abi::__cxa_demangle(symbol, nullptr, nullptr, &status) : nullptr;
    if (demangled == nullptr) return symbol;
    std::string name = demangled;
    std::free(demangled);
    drop_rust_hash(name);
    return name;
}

}  // namespace hakmem
