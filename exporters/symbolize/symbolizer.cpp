#include "symbolize/symbolizer.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "process/privilege.h"
#include "symbolize/demangle.h"
#include "text/text.h"

namespace hakmem {
namespace {

const Dwfl_Callbacks kCallbacks = {.find_elf = nullptr,
                                   .find_debuginfo = dwfl_standard_find_debuginfo,
                                   .section_address = dwfl_offline_section_address,
                                   .debuginfo_path = nullptr};

std::string function_name(Dwarf_Die *die) {
    Dwarf_Attribute attribute;
    for (const unsigned name : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name})
        if (const char *mangled = dwarf_formstring(dwarf_attr_integrate(die, name, &attribute)))
            return demangle(mangled);
    const char *name = dwarf_diename(die);
    return name != nullptr ? name : "";
}

// Compilers note paths relative to the folder that they ran in. `folder` may be null.
std::string absolute(const char *file, const char *folder) {
    if (file[0] == '/' || folder == nullptr || folder[0] != '/') return file;
    return (std::filesystem::path(folder) / file).lexically_normal().string();
}

}  // namespace

// One opened module, by path and build-id.
class Symbolizer::ModuleFile {
  public:
    explicit ModuleFile(const segment::Module &module) : path_(module.path), build_id_(module.build_id) { open(); }
    ~ModuleFile() {
        if (dwfl_ != nullptr) dwfl_end(dwfl_);
    }
    ModuleFile(const ModuleFile &) = delete;
    ModuleFile &operator=(const ModuleFile &) = delete;

    bool is(const segment::Module &module) const { return path_ == module.path && build_id_ == module.build_id; }

    // Appends the frames at the file's virtual address `vaddr`, inlined ones first. `base` has what is known of them.
    void append(Stack &stack, const Frame &base, std::uint64_t vaddr) {
        if (module_ == nullptr) {
            stack.push_back(base);
            stack.back().note = note_;
            return;
        }
        GElf_Addr bias = 0;
        dwfl_module_getelf(module_, &bias);
        const GElf_Addr address = vaddr + bias;
        if (append_from_dwarf(stack, base, address)) return;
        Frame frame = base;
        GElf_Off offset = 0;
        GElf_Sym symbol;
        if (const char *name = dwfl_module_addrinfo(module_, address, &offset, &symbol, nullptr, nullptr, nullptr))
            frame.function = demangle(name);
        set_line(frame, address);
        if (frame.function.empty()) frame.note = "no symbols";
        stack.push_back(std::move(frame));
    }

  private:
    void open() {
        if (path_.empty() || path_[0] != '/') {
            note_ = "no file";  // the vdso, or a path that means nothing here
            return;
        }
        const int fd = ::open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        struct stat info {};
        if (fd < 0 || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
            if (fd >= 0) ::close(fd);
            note_ = "the file is not there any more";
            return;
        }
        dwfl_ = dwfl_begin(&kCallbacks);
        dwfl_report_begin(dwfl_);
        Dwfl_Module *module = dwfl_report_offline(dwfl_, path_.c_str(), path_.c_str(), fd);
        dwfl_report_end(dwfl_, nullptr, nullptr);
        if (module == nullptr) {
            ::close(fd);
            note_ = "not an ELF file";
            return;
        }
        GElf_Addr bias = 0;
        dwfl_module_getelf(module, &bias);  // reads the build-id in passing
        const unsigned char *bits = nullptr;
        GElf_Addr at = 0;
        const int bytes = dwfl_module_build_id(module, &bits, &at);
        const std::string found(reinterpret_cast<const char *>(bits), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
        if (!build_id_.empty() && found.substr(0, segment::kBuildIdBytes) != build_id_) {
            note_ = "the file was replaced since (its build-id differs)";
            return;
        }
        module_ = module;
    }

    bool append_from_dwarf(Stack &stack, const Frame &base, GElf_Addr address) {
        Dwarf_Addr bias = 0;
        Dwarf_Die *unit = dwfl_module_addrdie(module_, address, &bias);
        if (unit == nullptr) return false;
        Dwarf_Die *scopes = nullptr;
        const int count = dwarf_getscopes(unit, address - bias, &scopes);
        std::vector<Dwarf_Die> functions;  // innermost first
        for (int i = 0; i < count; ++i) {
            const int tag = dwarf_tag(&scopes[i]);
            if (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram) functions.push_back(scopes[i]);
            if (tag == DW_TAG_subprogram) break;
        }
        // Inside an inlined function dwarf_getscopes goes on with the scopes of its abstract origin: the chain of
        // callers is in the DIE tree's parents.
        if (!functions.empty() && dwarf_tag(&functions.front()) == DW_TAG_inlined_subroutine) {
            Dwarf_Die innermost = functions.front(), *parents = nullptr;
            functions.clear();
            const int depth = dwarf_getscopes_die(&innermost, &parents);
            for (int i = 0; i < depth; ++i) {
                const int tag = dwarf_tag(&parents[i]);
                if (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram) functions.push_back(parents[i]);
                if (tag == DW_TAG_subprogram) break;
            }
            if (depth > 0) std::free(parents);
        }
        if (count > 0) std::free(scopes);
        if (functions.empty()) return false;

        Frame frame = base;
        set_line(frame, address);
        for (std::size_t i = 0; i < functions.size(); ++i) {
            Frame out = frame;
            out.function = function_name(&functions[i]);
            out.inlined = i + 1 < functions.size();
            if (out.inlined) set_call_site(frame, unit, &functions[i]);
            stack.push_back(std::move(out));
        }
        return true;
    }

    void set_line(Frame &frame, GElf_Addr address) {
        Dwfl_Line *line = dwfl_module_getsrc(module_, address);
        if (line == nullptr) return;
        int number = 0;
        if (const char *file = dwfl_lineinfo(line, nullptr, &number, nullptr, nullptr, nullptr)) {
            frame.file = absolute(file, dwfl_line_comp_dir(line));
            frame.line = number > 0 ? static_cast<unsigned>(number) : 0;
        }
    }

    // The place in the caller that `inlined` was inlined at.
    static void set_call_site(Frame &frame, Dwarf_Die *unit, Dwarf_Die *inlined) {
        frame.file.clear();
        frame.line = 0;
        Dwarf_Attribute attribute;
        Dwarf_Word file = 0, line = 0;
        if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &line) == 0)
            frame.line = static_cast<unsigned>(line);
        Dwarf_Files *files = nullptr;
        std::size_t count = 0;
        if (dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &file) == 0 &&
            dwarf_getsrcfiles(unit, &files, &count) == 0 && file < count)
            if (const char *name = dwarf_filesrc(files, file, nullptr, nullptr)) {
                Dwarf_Attribute folder;
                frame.file = absolute(name, dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &folder)));
            }
    }

    std::string path_;
    std::string build_id_;
    std::string note_;
    Dwfl *dwfl_ = nullptr;
    Dwfl_Module *module_ = nullptr;
};

Symbolizer::Symbolizer() = default;
Symbolizer::~Symbolizer() = default;

Symbolizer::ModuleFile &Symbolizer::open(const segment::Module &module) {
    const auto found = std::find_if(files_.begin(), files_.end(), [&](const auto &file) { return file->is(module); });
    if (found != files_.end()) {
        files_.splice(files_.begin(), files_, found);
    } else {
        files_.push_front(std::make_unique<ModuleFile>(module));
        if (files_.size() > kMaxOpen) files_.pop_back();
    }
    return *files_.front();
}

Stack Symbolizer::symbolize(const segment::Frames &frames, const segment::Snapshot &snapshot, bool first_is_exact) {
    const UserRightsOnly rights;
    Stack stack;
    for (std::size_t i = 0; i < frames.size(); ++i) {
        Frame frame;
        frame.pc = frames[i].pc;
        if (frames[i].module == segment::kNoModule || frames[i].module >= snapshot.modules.size()) {
            stack.push_back(std::move(frame));
            continue;
        }
        const segment::Module &module = snapshot.modules[frames[i].module];
        frame.module = module.path;
        frame.build_id = text::hex_bytes(module.build_id);
        frame.offset = frame.pc - module.bias;
        // A return address may be the first one of the next function or line; the call is before it.
        const bool exact = i == 0 && first_is_exact;
        open(module).append(stack, frame, frame.offset - (exact || frame.offset == 0 ? 0 : 1));
    }
    return stack;
}

}  // namespace hakmem
