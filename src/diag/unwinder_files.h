// Keeps libunwind off file descriptors. To ask whether an address may be read it writes a byte from there into a pipe
// of its own, and reads it back. In somebody else's program that is no way: programs close what they don't know and
// open other files under the same numbers, and that byte then goes into, or comes out of, a file of theirs.
#pragma once

namespace hakmem {

// `library`: dlopen's handle of libunwind, before the first use of it. Without effect on a libunwind that is built
// otherwise.
void keep_off_files(void *library);

}  // namespace hakmem
