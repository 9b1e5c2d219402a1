#include "symbolize/symbolizer.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "process/privilege.h"
#include "symbolize/demangle.h"
#include "text/text.h"

namespace hakmem {
namespace {

constexpr const char *kDebugFolder = "/usr/lib/debug";
constexpr std::size_t kMinBuildId = 2;  // bytes: the first names a folder
constexpr int kOpenFlags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

// Where Debian and others install the debug file of a build-id; empty if there is none to go by.
std::string debug_file_of(const std::string &build_id) {
    if (build_id.size() < kMinBuildId) return {};
    const std::string digits = text::hex_bytes(build_id);
    return std::string(kDebugFolder) + "/.build-id/" + digits.substr(0, 2) + "/" + digits.substr(2) + ".debug";
}

// A file as a process sees it, whose root may be another than ours: links in it lead to where they lead there. -1 if
// there is none, or the process has ended, or it is not ours to look at.
int open_in_root_of(std::uint64_t pid, const std::string &path) {
    const int root = ::open(("/proc/" + std::to_string(pid) + "/root").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return -1;
    open_how how{};
    how.flags = kOpenFlags;
    how.resolve = RESOLVE_IN_ROOT;
    const auto fd = static_cast<int>(::syscall(SYS_openat2, root, path.c_str(), &how, sizeof how));
    ::close(root);
    return fd;
}

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
    ModuleFile(const segment::Module &module, const segment::Snapshot &process)
        : path_(module.path), build_id_(module.build_id), process_(process.identity()) {
        if (process.alive) set_debug_folders(process.pid);
        open(process);
    }
    ~ModuleFile() {
        if (dwfl_ != nullptr) dwfl_end(dwfl_);
    }
    ModuleFile(const ModuleFile &) = delete;
    ModuleFile &operator=(const ModuleFile &) = delete;

    // What could not be opened for one process may be there for another.
    bool is(const segment::Module &module, const segment::Snapshot &process) const {
        return path_ == module.path && build_id_ == module.build_id &&
               (module_ != nullptr || process_ == process.identity());
    }

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
        if (!has_debug_information()) frame.debug_file = debug_file_of(build_id_);
        stack.push_back(std::move(frame));
    }

  private:
    // libdw's own way of saying it: next to the file, in .debug there, and below these.
    void set_debug_folders(std::uint64_t pid) {
        debug_folders_ =
            std::string(":.debug:") + kDebugFolder + ":/proc/" + std::to_string(pid) + "/root" + kDebugFolder;
        debug_folders_pointer_ = debug_folders_.data();
        callbacks_.debuginfo_path = &debug_folders_pointer_;
    }

    void open(const segment::Snapshot &process) {
        if (path_.empty() || path_[0] != '/') {
            note_ = "no file";  // the vdso, or a path that means nothing here
            return;
        }
        // A process in a container has files of its own by the same names, and one whose file was replaced still has
        // the old one as its program.
        if (process.alive) take(open_in_root_of(process.pid, path_), path_);
        take(::open(path_.c_str(), kOpenFlags), path_);
        if (process.alive && path_ == process.exe) {
            const std::string program = "/proc/" + std::to_string(process.pid) + "/exe";
            take(::open(program.c_str(), kOpenFlags), program);
        }
        // The debug file alone tells nearly as much.
        if (const std::string debug = debug_file_of(build_id_); !debug.empty())
            take(::open(debug.c_str(), kOpenFlags), debug);
        if (module_ != nullptr)
            note_.clear();
        else if (note_.empty())
            note_ = "the file is not there any more";
    }

    // Opens what `fd` is, if nothing has been found so far and this is the module; closes it otherwise.
    void take(int fd, const std::string &name) {
        if (fd < 0) return;
        struct stat info {};
        if (module_ != nullptr || ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
            ::close(fd);
            return;
        }
        Dwfl *dwfl = dwfl_begin(&callbacks_);
        dwfl_report_begin(dwfl);
        Dwfl_Module *module = dwfl_report_offline(dwfl, path_.c_str(), name.c_str(), fd);
        dwfl_report_end(dwfl, nullptr, nullptr);
        if (module == nullptr) {
            ::close(fd);
            if (note_.empty()) note_ = "not an ELF file";
        } else if (!is_same_build(module)) {
            note_ = "the file was replaced since (its build-id differs)";
        } else {
            dwfl_ = dwfl;
            module_ = module;
            return;
        }
        dwfl_end(dwfl);
    }

    bool is_same_build(Dwfl_Module *module) const {
        GElf_Addr bias = 0;
        dwfl_module_getelf(module, &bias);  // reads the build-id in passing
        const unsigned char *bits = nullptr;
        GElf_Addr at = 0;
        const int bytes = dwfl_module_build_id(module, &bits, &at);
        const std::string found(reinterpret_cast<const char *>(bits), bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
        return build_id_.empty() || found.substr(0, segment::kBuildIdBytes) == build_id_;
    }

    bool has_debug_information() {
        Dwarf_Addr bias = 0;
        return dwfl_module_getdwarf(module_, &bias) != nullptr;
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
    std::string process_;  // that it was opened for
    std::string note_;
    std::string debug_folders_;
    char *debug_folders_pointer_ = nullptr;
    Dwfl_Callbacks callbacks_ = {.find_elf = nullptr,
                                 .find_debuginfo = dwfl_standard_find_debuginfo,
                                 .section_address = dwfl_offline_section_address,
                                 .debuginfo_path = nullptr};
    Dwfl *dwfl_ = nullptr;
    Dwfl_Module *module_ = nullptr;
};

Symbolizer::Symbolizer() = default;
Symbolizer::~Symbolizer() = default;

Symbolizer::ModuleFile &Symbolizer::open(const segment::Module &module, const segment::Snapshot &process) {
    const auto found =
        std::find_if(files_.begin(), files_.end(), [&](const auto &file) { return file->is(module, process); });
    if (found != files_.end()) {
        files_.splice(files_.begin(), files_, found);
    } else {
        files_.push_front(std::make_unique<ModuleFile>(module, process));
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
        open(module, snapshot).append(stack, frame, frame.offset - (exact || frame.offset == 0 ? 0 : 1));
    }
    return stack;
}

}  // namespace hakmem
