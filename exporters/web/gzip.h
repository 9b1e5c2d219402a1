// Compresses an answer for a client that takes gzip: fast rather than small, for it is made anew each time.
#pragma once

#include <string>

namespace hakmem {

std::string compress(const std::string &text);

}  // namespace hakmem
