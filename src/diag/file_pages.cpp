#include "diag/file_pages.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstddef>

#include "base/bits.h"
#include "diag/read_only_file.h"
#include "os/pages.h"

namespace hakmem::file_pages {
namespace {

struct Range {
    std::uintptr_t begin = 0, end = 0;

    bool contains(std::uintptr_t address) const { return address - begin < end - begin; }
};

// Pages that are let go after a backtrace which passed `code`; always, where that is empty.
struct Pages {
    Range code, pages;
};

// Written once, in start().
constexpr std::size_t kMost = 64;
constinit Pages known[kMost] = {};
constinit std::size_t known_count = 0;
constinit unsigned long long unloaded_then = 0;

// The kernel's word for each page.
class KernelsPageMap {
  public:
    // Of the pages that are there none is memory of the process's own.
    bool is_files_own(const Range &pages) const {
        constexpr std::uint64_t kPresent = std::uint64_t{1} << 63, kSwapped = std::uint64_t{1} << 62,
                                kOfFile = std::uint64_t{1} << 61;
        const std::size_t page = os::system_page_bytes();
        std::uint64_t words[64];
        for (std::uintptr_t at = pages.begin; at < pages.end;) {
            const std::size_t count = std::min<std::size_t>((pages.end - at) / page, std::size(words));
            const auto bytes = static_cast<ssize_t>(count * sizeof *words);
            if (file_.read_at(words, count * sizeof *words, static_cast<off_t>(at / page * sizeof *words)) != bytes)
                return false;
            for (std::size_t i = 0; i < count; ++i) {
                if ((words[i] & kSwapped) != 0 || (words[i] & (kPresent | kOfFile)) == kPresent) return false;
            }
            at += count * page;
        }
        return true;
    }

  private:
    ReadOnlyFile file_{"/proc/self/pagemap"};
};

// Whole pages only: what else is on the first may be in use.
Range whole_pages(std::uintptr_t begin, std::uintptr_t end) {
    const std::size_t page = os::system_page_bytes();
    return {align_up(begin, page), align_up(end, page)};
}

struct Learner {
    std::uintptr_t unwinder;
    KernelsPageMap kernel;
    bool in_unwinder = false;

    void add(const Range &code, const Range &pages) {
        if (known_count < kMost && pages.begin < pages.end && kernel.is_files_own(pages))
            known[known_count++] = {code, pages};
    }

    void learn(const dl_phdr_info &info) {
        Range code;
        std::uintptr_t tables = 0;
        for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
            const ElfW(Phdr) &part = info.dlpi_phdr[i];
            const std::uintptr_t begin = info.dlpi_addr + part.p_vaddr;
            if (part.p_type == PT_GNU_EH_FRAME) tables = begin;
            if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0) code = {begin, begin + part.p_memsz};
        }
        for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
            const ElfW(Phdr) &part = info.dlpi_phdr[i];
            if (part.p_type != PT_LOAD || (part.p_flags & PF_W) != 0) continue;
            const Range loaded{info.dlpi_addr + part.p_vaddr, info.dlpi_addr + part.p_vaddr + part.p_memsz};
            if (in_unwinder)
                add({}, whole_pages(loaded.begin, loaded.end));
            else if (loaded.contains(tables) && (part.p_flags & PF_X) == 0)  // an index, and the tables right behind it
                add(code, whole_pages(tables, loaded.end));
        }
    }
};

}  // namespace

void start(std::uintptr_t unwinder) {
    Learner learner{unwinder, {}};
    known_count = 0;
    dl_iterate_phdr(
        [](dl_phdr_info *info, std::size_t, void *data) {
            auto &learner = *static_cast<Learner *>(data);
            unloaded_then = info->dlpi_subs;
            learner.in_unwinder |= learner.unwinder != 0 && info->dlpi_addr == learner.unwinder;
            learner.learn(*info);
            return 0;
        },
        &learner);
    let_go({});
}

void let_go(std::span<const std::uintptr_t> addresses) {
    dl_iterate_phdr(
        [](dl_phdr_info *info, std::size_t, void *data) {
            if (info->dlpi_subs != unloaded_then) return 1;
            const auto &addresses = *static_cast<const std::span<const std::uintptr_t> *>(data);
            for (std::size_t i = 0; i < known_count; ++i) {
                const auto &[code, pages] = known[i];
                const auto passed = [&code = code](std::uintptr_t pc) { return code.contains(pc); };
                if (code.end == 0 || std::any_of(addresses.begin(), addresses.end(), passed))
                    os::discard(pointer_to(pages.begin), pages.end - pages.begin);
            }
            return 1;
        },
        &addresses);
}

}  // namespace hakmem::file_pages
