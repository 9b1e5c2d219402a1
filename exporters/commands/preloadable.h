// Whether the loader of a command will take LD_PRELOAD at all. A program without a loader runs on as if nothing had
// been asked, so whoever starts it has to say so.
#pragma once

#include <string>

namespace hakmem {

// Why nothing can be preloaded into the command, for people: "is statically linked", for instance, with the file that
// it is about in front. Empty if nothing speaks against it, or the command cannot be looked at. The command is looked
// up as execvp would; of a script the interpreter counts, of `env NAME` that program.
std::string why_not_preloaded(const std::string &command);

}  // namespace hakmem
