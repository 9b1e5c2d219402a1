#include "incident/reading.h"

#include <algorithm>
#include <cstring>

#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::size_t kWord = 8;
// Shorter than this, printable bytes or equal bytes may be chance.
constexpr std::size_t kLeastText = 4;
constexpr std::size_t kLeastRun = 8;
constexpr std::size_t kLeastWide = 3;  // letters
// Header bytes as core/header_byte.h has them, which readers can't include: the upper three bits.
constexpr std::uint8_t kHeaderMask = 0xE0, kHeaderFree = 0x80, kHeaderLive = 0xA0, kHeaderWatched = 0xC0;
constexpr std::uint64_t kLeastPointer = 0x10000;
// Blocks this near to each other are likely to be of one heap.
constexpr std::uint64_t kHeapReach = std::uint64_t{1} << 32;
constexpr std::uint64_t kMostSmall = 0xFFFF;
constexpr std::uint64_t kStacksFrom = 0x7ff000000000, kUserEnd = 0x800000000000;

bool printable(std::uint8_t byte) { return (byte >= 0x20 && byte < 0x7F) || byte == '\t' || byte == '\n'; }

std::string in_quotes(std::string_view letters) {
    std::string out = "\"";
    for (const char letter : letters) {
        if (letter == '\n')
            out += "\\n";
        else if (letter == '\t')
            out += "\\t";
        else
            out += letter;
    }
    return out + "\"";
}

class Reader {
  public:
    Reader(const OverwrittenBytes &in, const AddressName &name_of) : in_(in), name_of_(name_of), bytes_(in.bytes) {
        if (in.at < bytes_.size()) bytes_[in.at] = static_cast<char>(in.found);
    }

    // The first that fits; the more telling ones come first.
    std::string read() const {
        if (in_.at >= bytes_.size()) return alone();
        for (const auto attempt : {&Reader::terminator, &Reader::equal_bytes, &Reader::wide_text,
                                   &Reader::printable_text, &Reader::pointer, &Reader::small_integer}) {
            std::string text = (this->*attempt)();
            if (!text.empty()) return text;
        }
        return alone();
    }

  private:
    std::uint8_t byte(std::size_t at) const { return static_cast<std::uint8_t>(bytes_[at]); }
    bool untouched(std::size_t at) const { return in_.fill && byte(at) == *in_.fill; }

    // Without the bytes around it, or where these tell nothing.
    std::string alone() const {
        const std::string hex = text::hex_byte(in_.found);
        if (in_.found == 0) return "a single zero byte: most likely a string's terminator written one past the end";
        if (in_.found == 0xFF) return "a byte with all bits set: -1, or a mask";
        if (printable(in_.found)) return "a byte " + hex + ", the letter '" + std::string(1, letter(in_.found)) + "'";
        switch (in_.found & kHeaderMask) {
            case kHeaderFree:
                return "a byte " + hex + ", as in front of a free block: an old header, copied";
            case kHeaderLive:
            case kHeaderWatched:
                return "a byte " + hex + ", as in front of a block in use: an old header, copied";
            default:
                return "a byte " + hex;
        }
    }

    static char letter(std::uint8_t byte) { return byte < 0x20 ? ' ' : static_cast<char>(byte); }

    std::size_t text_before() const {
        std::size_t from = in_.at;
        while (from > 0 && printable(byte(from - 1))) --from;
        return from;
    }

    // With a mark where the window cuts it off.
    std::string text_of(std::size_t from, std::size_t to) const {
        std::string letters = from == 0 ? "…" : "";
        letters += bytes_.substr(from, to - from);
        if (to == bytes_.size()) letters += "…";
        return in_quotes(letters);
    }

    std::string terminator() const {
        if (in_.found != 0) return {};
        const bool alone_behind = in_.at + 1 >= bytes_.size() || byte(in_.at + 1) != 0 || !in_.fill;
        const std::size_t from = text_before();
        if (in_.at - from >= (in_.fill ? kLeastText / 2 : kLeastText) && alone_behind)
            return "a single zero byte behind the text " + text_of(from, in_.at) +
                   ": a string's terminator written one past the end";
        // In filled memory the extent of the write is known, whatever stands before it.
        return in_.fill && in_.at + 1 < bytes_.size() && untouched(in_.at + 1) ? alone() : std::string();
    }

    std::string equal_bytes() const {
        std::size_t from = in_.at, to = in_.at + 1;
        while (from > 0 && byte(from - 1) == in_.found) --from;
        while (to < bytes_.size() && byte(to) == in_.found) ++to;
        if (to - from < kLeastRun) return {};
        const bool cut = from == 0 || to == bytes_.size();
        std::string text = "a run of " + std::string(cut ? "at least " : "") + std::to_string(to - from) +
                           " equal bytes, " + text::hex_byte(in_.found);
        if (printable(in_.found)) text += " ('" + std::string(1, letter(in_.found)) + "')";
        return text + (in_.found == 0 ? ": memset, a cleared structure, or a zero" : ": memset, or a loop that fills");
    }

    // Every second or fourth byte is a letter, and the ones between are zero.
    std::string wide_text() const {
        for (const auto &[step, name] : {std::pair<std::size_t, const char *>{4, "UTF-32, wchar_t"}, {2, "UTF-16"}}) {
            const std::size_t phase = (in_.address + in_.at) % step;
            // The unit that holds the bad byte, then as far as they go.
            if (phase > in_.at) continue;
            std::string letters;
            std::size_t from = in_.at - phase;
            const std::size_t own = from;
            while (from >= step && wide_letter(from - step, step)) from -= step;
            std::size_t at = from;
            while (at + step <= bytes_.size() && wide_letter(at, step)) {
                letters += bytes_[at];
                at += step;
            }
            // A terminator is a unit of zeros right behind.
            const bool at_end = at == own && at + step <= bytes_.size() && all_zero(at, step);
            if (letters.size() < kLeastWide || (at <= own && !at_end)) continue;
            return std::string(at_end ? "the terminator of wide text (" : "wide text (") + name +
                   "): " + in_quotes(letters);
        }
        return {};
    }
    bool wide_letter(std::size_t at, std::size_t step) const {
        return printable(byte(at)) && all_zero(at + 1, step - 1);
    }
    bool all_zero(std::size_t at, std::size_t count) const {
        return std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(at),
                           bytes_.begin() + static_cast<std::ptrdiff_t>(at + count), [](char c) { return c == 0; });
    }

    std::string printable_text() const {
        if (!printable(in_.found)) return {};
        const std::size_t from = text_before();
        std::size_t to = in_.at;
        while (to < bytes_.size() && printable(byte(to))) ++to;
        if (to - from < kLeastText) return {};
        return "printable text: " + text_of(from, to);
    }

    // The aligned word that the bad byte lies in.
    std::optional<std::uint64_t> word(std::size_t size) const {
        const std::size_t phase = (in_.address + in_.at) % size;
        if (phase > in_.at || in_.at - phase + size > bytes_.size()) return std::nullopt;
        std::uint64_t value = 0;
        std::memcpy(&value, bytes_.data() + (in_.at - phase), size);
        return value;
    }

    std::string pointer() const {
        const std::optional<std::uint64_t> value = word(kWord);
        if (!value || *value < kLeastPointer || *value >= kUserEnd) return {};
        if (const std::string name = name_of_ ? name_of_(*value) : std::string(); !name.empty())
            return "looks like a pointer into " + name;
        const std::uint64_t distance = *value > in_.block ? *value - in_.block : in_.block - *value;
        if (in_.block != 0 && distance < kHeapReach && *value % 16 == 0)
            return "looks like a pointer to a block of the heap, " + text::hex(*value) +
                   ": a link of a list, such as a free list that the program keeps itself";
        if (*value >= kStacksFrom) return "looks like a pointer into a stack or a mapping, " + text::hex(*value);
        return {};
    }

    std::string small_integer() const {
        for (const std::size_t size : {kWord, kWord / 2}) {
            const std::optional<std::uint64_t> value = word(size);
            if (!value) continue;
            const std::string as = ", as " + std::to_string(size) + " bytes";
            if (*value != 0 && *value <= kMostSmall) return "a small integer, " + std::to_string(*value) + as;
            const std::uint64_t negative = (size == kWord ? 0 : std::uint64_t{1} << 32) - *value;
            if (negative != 0 && negative <= kMostSmall) return "a small integer, -" + std::to_string(negative) + as;
        }
        return {};
    }

    const OverwrittenBytes &in_;
    const AddressName &name_of_;
    std::string bytes_;
};

}  // namespace

std::string reading(const OverwrittenBytes &overwritten, const AddressName &name_of) {
    return Reader(overwritten, name_of).read();
}

}  // namespace hakmem
