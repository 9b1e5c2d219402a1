// The words of report/kinds.h as JSON, for the web page.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace hakmem {

// A list with an object a kind.
nlohmann::ordered_json kinds_json();

}  // namespace hakmem
