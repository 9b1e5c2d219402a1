// Precompiled: the headers that take longest, of which each file uses one or two.
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
