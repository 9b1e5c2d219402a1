// Precompiled: the header that takes longest, of which most files use a part. CLI11 is left to those that need it: its
// constants are made anew in every file that includes it, which takes five seconds.
#include <nlohmann/json.hpp>
