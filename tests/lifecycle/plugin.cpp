// Loaded and unloaded in a loop: allocates when it comes and frees when it goes.
#include <cstdlib>
#include <string>
#include <vector>

namespace {

const std::vector<std::string> kept(50, std::string(100, 'x'));
thread_local std::string of_thread(200, 'y');

}  // namespace

extern "C" __attribute__((visibility("default"))) void *plugin_block(std::size_t bytes) {
    of_thread += 'z';
    return std::malloc(bytes + kept.size());
}
