// C++ and Rust symbol names as their authors wrote them.
#pragma once

#include <string>

namespace hakmem {

std::string demangle(const char *symbol);

}  // namespace hakmem
