// From a return address to function, file and line, with libdw. A module is opened by its path and used only if its
// build-id is the one that the watched process recorded: a file that was replaced since is said so, not guessed at.
// While the process lives, its files are read as it sees them, which may be in a container; of a program that was
// replaced it still has the old file. Separate debug files are found by build-id under /usr/lib/debug, ours and the
// process's, and by debuginfod where DEBUGINFOD_URLS is set.
//
// Module paths come from watched programs: only regular files are opened. Opened modules are cached. Not thread-safe;
// one thread symbolizes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

#include "incident/incident.h"
#include "segment/reader.h"

namespace hakmem {

class Symbolizer {
  public:
    Symbolizer();
    ~Symbolizer();
    Symbolizer(const Symbolizer &) = delete;
    Symbolizer &operator=(const Symbolizer &) = delete;

    // `first_is_exact`: the first frame is the address of the instruction itself (a fault, a watchpoint), not of the
    // one after a call.
    Stack symbolize(const segment::Frames &frames, const segment::Snapshot &snapshot, bool first_is_exact);

  private:
    class ModuleFile;
    ModuleFile &open(const segment::Module &module, const segment::Snapshot &process);

    static constexpr std::size_t kMaxOpen = 128;
    std::list<std::unique_ptr<ModuleFile>> files_;  // most recently used first
};

}  // namespace hakmem
