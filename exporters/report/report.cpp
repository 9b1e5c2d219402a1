#include "report/report.h"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>

#include "incident/site.h"
#include "report/kinds.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr std::size_t kDumpRow = 16;
constexpr std::size_t kRuleColumns = 65;

class Report {
  public:
    Report(const Incident &incident, bool colour) : in_(incident), colour_(colour) {}

    std::string make() {
        headline();
        where();
        stacks();
        suspect();
        dump();
        missing_symbols();
        facts();
        end();
        return std::move(out_);
    }

  private:
    static constexpr const char *kBold = "\033[1m", *kRed = "\033[1;31m", *kDim = "\033[2m", *kReset = "\033[0m";

    std::string styled(const char *style, const std::string &text) const {
        return colour_ ? style + text + kReset : text;
    }

    void line(const std::string &text) { out_ += text + "\n"; }

    void fact(const char *name, const std::string &value) {
        const std::string label = std::string("  ") + name + std::string(12 - std::strlen(name), ' ');
        line(styled(kDim, label) + value);
    }

    const KindText &kind() const { return kKindTexts[static_cast<std::size_t>(in_.kind)]; }
    std::string kind_name() const { return segment::kKindNames[static_cast<std::size_t>(in_.kind)]; }
    std::string mark() const { return "==" + std::to_string(in_.pid) + "=="; }

    // Kind, address and thread in one line, as the sanitizers have it.
    void headline() {
        line(std::string(kRuleColumns, '='));
        line(mark() + styled(kRed, "ERROR: hakmem: " + kind_name() + " on address " + text::hex(in_.address)) +
             " in thread " + std::to_string(in_.tid) +
             (in_.thread.empty() ? "" : " (" + text::clean(in_.thread) + ")"));
        line("  " + styled(kBold, kind().what));
    }

    static std::string block_text(std::uint64_t bytes, bool large) {
        if (bytes == 0) return "block";
        return std::string(large ? "large " : "") + "block of " + std::to_string(bytes) + " bytes";
    }

    std::string address_text() const {
        const std::string text = text::hex(in_.address) + " ";
        if (in_.region != segment::AddressRegion::none) {
            static constexpr const char *kWords[] = {"", "is on a stack", "is in a program's static data",
                                                     "is in a mapping", "is not mapped"};
            static_assert(std::size(kWords) == std::size(segment::kAddressRegionNames));
            return text + kWords[static_cast<std::size_t>(in_.region)];
        }
        if (in_.block == 0) return {};
        const std::string block = block_text(in_.slot_bytes, in_.large) +
                                  (in_.asked_bytes != 0 ? " (" + std::to_string(in_.asked_bytes) + " asked for)" : "");
        if (in_.address == in_.block) return text + "is the start of a " + block;
        return text + "is " + bytes_text(in_.address - in_.block) + " into a " + block + " at " + text::hex(in_.block);
    }

    static std::string bytes_text(std::uint64_t count) {
        return std::to_string(count) + (count == 1 ? " byte" : " bytes");
    }

    void where() {
        if (const std::string text = address_text(); !text.empty()) line("  " + text);
        if (in_.kind == segment::Kind::redzone_overwritten)
            line("  the first overwritten byte is " +
                 (in_.offset < 0 ? std::to_string(-in_.offset) + " bytes before the block's start"
                                 : std::to_string(in_.offset) + " bytes past the asked size"));
        if (in_.header_known) {
            std::string text = "header found " + text::hex_byte(in_.header_found);
            if (in_.kind == segment::Kind::large_header_corrupt && in_.header_found == in_.header_expected)
                text += ", as expected: what changed lies in the 15 bytes before it";
            else if (in_.header_expected != 0)
                text += ", expected " + text::hex_byte(in_.header_expected);
            line("  " + text);
        }
        if (!in_.reading.empty()) line("  written: " + text::clean(in_.reading));
        if (in_.outcome) {
            static constexpr const char *kWords[] = {"recovered: the header was repaired and the block freed",
                                                     "foreign: passed on to the next allocator",
                                                     "rejected: nothing was freed"};
            static_assert(std::size(kWords) == std::size(segment::kHeaderInvalidNames));
            line(std::string("  ") + kWords[static_cast<std::size_t>(*in_.outcome)]);
        }
    }

    void stack(const std::string &title, const Stack &frames) {
        if (frames.empty()) return;
        line("");
        line(styled(kBold, title + ":"));
        int number = 0;
        for (const Frame &frame : frames) {
            std::string place = frame.module.empty() ? "(no module)"
                                                     : "(" + text::clean(text::base_name(frame.module)) + "+" +
                                                           text::hex(frame.offset) + ")";
            if (!frame.note.empty()) place += " [" + text::clean(frame.note) + "]";
            std::string text = "    #" + std::to_string(number) + (number < 10 ? "  " : " ") + text::hex(frame.pc);
            ++number;
            if (!frame.function.empty()) text += " in " + styled(kBold, text::clean(frame.function));
            if (!frame.file.empty())
                text += " " + text::clean(frame.file) + (frame.line != 0 ? ":" + std::to_string(frame.line) : "");
            if (frame.inlined) text += " (inlined)";
            line(text + " " + styled(kDim, place));
        }
    }

    // What this thread did, who had freed the block, who had allocated it.
    void stacks() {
        stack("Written by", in_.writer);
        stack(kind().free_title, in_.free);
        if (in_.free.empty() && in_.writer.empty()) {
            line("");
            line(
                "Noticed in passing, by an audit or when the allocator took up the block, not by a free: there is no "
                "stack "
                "of that.");
        }
        stack("Freed before here", in_.previous_free);
        stack("Allocated here", in_.alloc);
    }

    void suspect() {
        if (!in_.suspect) return;
        static constexpr const char *kStates[] = {"state unknown", "in use", "free", "never used"};
        static_assert(std::size(kStates) == std::size(segment::kSlotStateNames));
        line("");
        // Bytes of its own were overwritten: by its own user, most likely.
        if (in_.suspect->address == in_.block) {
            line(styled(kBold, "Suspect:") + " the block itself: whoever writes past its end hits these bytes first.");
            return;
        }
        line(styled(kBold, "Suspect:") + " the " + block_text(in_.suspect->slot_bytes, in_.suspect_large) + " at " +
             text::hex(in_.suspect->address) + ", " + kStates[static_cast<std::size_t>(in_.suspect->state)] +
             ": it lies in front, and whoever writes past its end hits this header first.");
        stack("The suspect was allocated here", in_.suspect_alloc);
    }

    void dump() {
        if (in_.dump.empty()) return;
        const std::uint64_t header = (in_.block != 0 ? in_.block : in_.address) - 1;
        line("");
        line(styled(kBold, "Memory around it") + " (the header byte in brackets):");
        std::size_t at = 0;
        while (at < in_.dump.size()) {
            const std::uint64_t address = in_.dump_address + at;
            const std::uint64_t row = address & ~std::uint64_t{kDumpRow - 1};
            std::string bytes, letters;
            for (std::uint64_t i = row; i < row + kDumpRow; ++i) {
                if (i < address || at >= in_.dump.size()) {
                    bytes += "    ";
                    letters += ' ';
                    continue;
                }
                const auto byte = static_cast<unsigned char>(in_.dump[at++]);
                const std::string digits = text::hex_byte(byte).substr(2);
                bytes += i == header ? "[" + styled(kRed, digits) + "]" : " " + digits + " ";
                letters += byte >= 0x20 && byte < 0x7F ? static_cast<char>(byte) : '.';
            }
            line("    " + text::hex(row) + " " + bytes + " " + letters);
        }
    }

    // The debug files that would tell the functions and lines that are not known.
    void missing_symbols() {
        std::map<std::string, std::string> files;  // by module
        for (const StackName &entry : kStacks)
            for (const Frame &frame : in_.*entry.stack)
                if (!frame.debug_file.empty()) files.emplace(frame.module, frame.debug_file);
        if (files.empty()) return;
        line("");
        line(styled(kBold, "No debug information:") + " build with -g, install these files, or set DEBUGINFOD_URLS");
        for (const auto &[module, file] : files)
            line("    " + text::clean(text::base_name(module)) + ": " + text::clean(file));
    }

    void facts() {
        line("");
        fact("process", text::clean(in_.process) + ", pid " + std::to_string(in_.pid));
        fact("program", text::clean(in_.exe));
        fact("time", text::rfc3339(in_.first_ns));
        if (in_.count > 1) fact("count", std::to_string(in_.count) + " times, last " + text::rfc3339(in_.last_ns));
        fact("level", segment::kLevelNames[static_cast<std::size_t>(in_.level)]);
        fact("id", text::clean(in_.id));
        fact("fingerprint", text::clean(in_.fingerprint));
    }

    void end() {
        line("");
        line(styled(kBold, "SUMMARY: hakmem: " + kind_name() + " " + site(blamed(in_))));
        line(mark() + "END OF INCIDENT");
    }

    const Incident &in_;
    const bool colour_;
    std::string out_;
};

}  // namespace

std::string report(const Incident &incident, bool colour) { return Report(incident, colour).make(); }

bool terminal_has_colour() {
    const char *terminal = std::getenv("TERM");
    const char *no_colour = std::getenv("NO_COLOR");
    return ::isatty(STDOUT_FILENO) != 0 && (no_colour == nullptr || no_colour[0] == '\0') && terminal != nullptr &&
           std::strcmp(terminal, "dumb") != 0;
}

}  // namespace hakmem
