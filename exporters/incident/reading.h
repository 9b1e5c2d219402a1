// What the overwritten bytes look like, in plain words: often they tell whose they are. A pure function of the bytes,
// so that every reading is tested with bytes alone. It guesses, and so says "looks like" where a value could be chance.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace hakmem {

struct OverwrittenBytes {
    std::string_view bytes = {};            // memory around the first bad byte
    std::uint64_t address = 0;              // of bytes[0]
    std::size_t at = 0;                     // the first bad byte
    std::uint8_t found = 0;                 // what stood there, also where a repair was quicker than the dump
    std::optional<std::uint8_t> fill = {};  // what stands around it where nothing was written
    std::uint64_t block = 0;                // the block that it was found at
};

// Names what an address points to ("libx.so (function)"); empty if it is in no module.
using AddressName = std::function<std::string(std::uint64_t)>;

// A phrase without a full stop; empty where there is nothing to read.
std::string reading(const OverwrittenBytes &overwritten, const AddressName &name_of);

}  // namespace hakmem
