// The files of the web page, which the build bundles and puts into the binary (page/bundle.mjs writes the table).
#pragma once

#include <string_view>

namespace hakmem {

struct Asset {
    std::string_view path;  // of the request
    std::string_view content_type;
    std::string_view body;
    std::string_view gzip;  // the body compressed; empty where that gains nothing
    std::string_view etag;  // with its quotes
    bool immutable;         // the path has the content's hash in it
};

// Null if there is none of that path.
const Asset *find_asset(std::string_view path);

inline constexpr std::string_view kIndexPath = "/index.html";

}  // namespace hakmem
