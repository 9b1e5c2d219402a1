// Text in a fixed buffer: what the preloaded libraries compose messages with, as they can't allocate. Too long a text
// is cut, never overrun.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hakmem {

class Text {
  public:
    constexpr Text(char *buffer, std::size_t capacity) : begin_(buffer), cursor_(buffer), end_(buffer + capacity - 1) {
        *cursor_ = '\0';
    }
    Text(const Text &) = delete;
    Text &operator=(const Text &) = delete;

    constexpr Text &put(char c) {
        if (cursor_ < end_) *cursor_++ = c;
        *cursor_ = '\0';
        return *this;
    }

    constexpr Text &put(const char *text) {
        while (*text != '\0') put(*text++);
        return *this;
    }

    // Bytes that somebody else chose: at most `limit`, and whatever a terminal could take for a command is a '?'.
    constexpr Text &put_untrusted(const char *text, std::size_t length, std::size_t limit = 64) {
        for (std::size_t i = 0; i < length && i < limit; ++i) {
            put(text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
        }
        if (length > limit) put("...");
        return *this;
    }

    constexpr Text &decimal(std::uint64_t value) {
        char digits[20] = {};
        unsigned used = 0;
        do {
            digits[used++] = static_cast<char>('0' + value % 10);
            value /= 10;
        } while (value != 0);
        while (used > 0) put(digits[--used]);
        return *this;
    }

    constexpr Text &signed_decimal(std::int64_t value) {
        if (value >= 0) return decimal(static_cast<std::uint64_t>(value));
        return put('-').decimal(0 - static_cast<std::uint64_t>(value));
    }

    // With 0x, without leading zeros beyond `digits`.
    constexpr Text &hex(std::uint64_t value, unsigned digits = 1) {
        put("0x");
        bool started = false;
        for (int shift = 60; shift >= 0; shift -= 4) {
            const unsigned digit = value >> shift & 0xF;
            started = started || digit != 0 || static_cast<unsigned>(shift / 4) < digits;
            if (started) put("0123456789abcdef"[digit]);
        }
        return *this;
    }

    constexpr const char *c_str() const { return begin_; }
    constexpr std::size_t size() const { return static_cast<std::size_t>(cursor_ - begin_); }
    constexpr bool full() const { return cursor_ == end_; }

  private:
    char *begin_;
    char *cursor_;
    char *end_;  // the last byte, kept for the NUL
};

template <std::size_t Capacity>
class TextBuffer : public Text {
  public:
    constexpr TextBuffer() : Text(buffer_, Capacity) {}

  private:
    char buffer_[Capacity] = {};
};

}  // namespace hakmem
