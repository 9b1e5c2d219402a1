#include "diag/modules.h"

#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "base/text.h"
#include "diag/process.h"
#include "diag/segment_writer.h"

namespace hakmem {
namespace {

std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash ^ value) * 0x9E3779B97F4A7C15;
    return hash ^ hash >> 29;
}

std::uint64_t hash_bytes(const void *data, std::size_t size) {
    const auto *bytes = static_cast<const unsigned char *>(data);
    std::uint64_t hash = size;
    for (std::size_t i = 0; i < size; ++i) hash = mix(hash, bytes[i]);
    return hash;
}

struct Range {
    std::uintptr_t begin = UINTPTR_MAX;
    std::uintptr_t end = 0;
};

Range loaded_range(const dl_phdr_info &info) {
    Range range;
    for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
        const ElfW(Phdr) &part = info.dlpi_phdr[i];
        if (part.p_type != PT_LOAD) continue;
        range.begin = std::min<std::uintptr_t>(range.begin, info.dlpi_addr + part.p_vaddr);
        range.end = std::max<std::uintptr_t>(range.end, info.dlpi_addr + part.p_vaddr + part.p_memsz);
    }
    return range;
}

// True where the notes are in memory and readable.
bool is_loaded(const dl_phdr_info &info, const ElfW(Phdr) & notes) {
    for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
        const ElfW(Phdr) &part = info.dlpi_phdr[i];
        if (part.p_type == PT_LOAD && (part.p_flags & PF_R) != 0 && notes.p_vaddr >= part.p_vaddr &&
            notes.p_vaddr + notes.p_filesz <= part.p_vaddr + part.p_filesz) {
            return true;
        }
    }
    return false;
}

void read_build_id(const dl_phdr_info &info, segment::ModuleRecord &record) {
    for (unsigned i = 0; i < info.dlpi_phnum; ++i) {
        const ElfW(Phdr) &notes = info.dlpi_phdr[i];
        if (notes.p_type != PT_NOTE || !is_loaded(info, notes)) continue;
        const auto *at = reinterpret_cast<const unsigned char *>(info.dlpi_addr + notes.p_vaddr);
        std::size_t left = notes.p_filesz;
        const std::size_t align = notes.p_align == 8 ? 8 : 4;
        const auto aligned = [align](std::size_t size) { return (size + align - 1) & ~(align - 1); };
        ElfW(Nhdr) note;
        while (left >= sizeof note) {
            std::memcpy(&note, at, sizeof note);
            const std::size_t name_at = sizeof note;
            const std::size_t text_at = aligned(name_at + note.n_namesz);
            const std::size_t size = aligned(text_at + note.n_descsz);
            if (text_at > left || note.n_descsz > left - text_at) break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && std::memcmp(at + name_at, "GNU", 4) == 0) {
                record.build_id_bytes = std::min<std::uint32_t>(note.n_descsz, segment::kBuildIdBytes);
                std::memcpy(record.build_id, at + text_at, record.build_id_bytes);
                return;
            }
            if (size > left) break;
            at += size;
            left -= size;
        }
    }
}

void read_path(const dl_phdr_info &info, bool is_program, segment::ModuleRecord &record) {
    const char *name = info.dlpi_name != nullptr ? info.dlpi_name : "";
    if (*name == '\0' && is_program) return process::executable(record.path, sizeof record.path);
    Text path(record.path, sizeof record.path);
    // Found by a relative search path, so relative to where the program was then: now is the best guess.
    if (*name != '/' && std::strchr(name, '/') != nullptr) {
        char here[256];
        if (getcwd(here, sizeof here) != nullptr) path.put(here).put('/');
    }
    path.put(name);
}

}  // namespace

struct ModuleMap::Refresh {
    ModuleMap &map;
    bool first = true;
};

void ModuleMap::start(segment::ModuleRecord *records, std::uint32_t *used) {
    records_ = records;
    used_ = used;
    count_ = 0;
    adds_ = 0;
    subs_ = 0;
}

void ModuleMap::carry_over(segment::ModuleRecord *records, std::uint32_t *used) {
    records_ = records;
    used_ = used;
    *used = count();
}

void ModuleMap::refresh() {
    if (records_ == nullptr) return;
    Refresh refresh{*this};
    dl_iterate_phdr([](dl_phdr_info *info, std::size_t size, void *data) { return see_object(info, size, data); },
                    &refresh);
}

// Under the loader's lock, so one thread at a time; ThreadSanitizer does not see that one.
__attribute__((no_sanitize("thread"))) int ModuleMap::see_object(void *object, std::size_t, void *data) {
    auto &refresh = *static_cast<Refresh *>(data);
    const auto &info = *static_cast<const dl_phdr_info *>(object);
    ModuleMap &map = refresh.map;
    if (refresh.first) {
        if (map.adds_ == info.dlpi_adds && map.subs_ == info.dlpi_subs) return 1;
        map.adds_ = info.dlpi_adds;
        map.subs_ = info.dlpi_subs;
    }
    map.add(&info, refresh.first);
    refresh.first = false;
    return 0;
}

void ModuleMap::add(const void *object, bool is_program) {
    const auto &info = *static_cast<const dl_phdr_info *>(object);
    const std::uint32_t count = count_.load(std::memory_order_relaxed);
    const Range range = loaded_range(info);
    if (range.begin >= range.end || count == kMost) return;

    segment::ModuleRecord &record = records_[count];
    if (!prepare_memory(&record, sizeof record)) return;
    record = {};
    read_path(info, is_program, record);
    read_build_id(info, record);
    Module module{range.begin, range.end, info.dlpi_addr, 0};
    module.identity = record.build_id_bytes != 0 ? hash_bytes(record.build_id, record.build_id_bytes)
                                                 : hash_bytes(record.path, std::strlen(record.path));

    for (std::uint32_t i = 0; i < count; ++i) {
        Module &other = modules_[i];
        if (other.end <= module.begin || module.end <= other.begin) continue;
        if (other.begin == module.begin && other.end == module.end && other.identity == module.identity) return;
        // Loaded where that one was.
        std::atomic_ref(other.end).store(other.begin, std::memory_order_relaxed);
    }
    modules_[count] = module;
    record.begin = module.begin;
    record.end = module.end;
    record.bias = module.bias;
    count_.store(count + 1, std::memory_order_release);
    std::atomic_ref(*used_).store(count + 1, std::memory_order_release);
}

std::uint16_t ModuleMap::find(std::uintptr_t address) const {
    const std::uint32_t count = count_.load(std::memory_order_acquire);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (address >= modules_[i].begin && address < modules_[i].end) return static_cast<std::uint16_t>(i);
    }
    return segment::kNoModule;
}

std::uint64_t ModuleMap::identify(std::uint16_t module, std::uintptr_t address) const {
    if (module >= kMost) return address;
    return mix(modules_[module].identity, address - modules_[module].bias);
}

}  // namespace hakmem
