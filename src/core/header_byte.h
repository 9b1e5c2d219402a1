// The one-byte header before each small block: magic and size class. The only code that reads or writes it.
//
//   0xA0 | class   in use
//   0x80 | class   free
//   0xC0 | class   in use and watched: a diagnostic level knows more about the block, so its free leaves the fast path
//   0xE0 and up    the last byte of a 16-byte header (block_header.h)
//
// None of these is 0x00, 0xFF, ASCII, or the top byte of a user-space pointer, so common overwrites show. The byte is
// written in every build type: the fast path depends on it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bits.h"

namespace hakmem::header_byte {

inline constexpr unsigned kClasses = 32;
inline constexpr std::uint8_t kLive = 0xA0;
inline constexpr std::uint8_t kFree = 0x80;
inline constexpr std::uint8_t kWatched = 0xC0;
inline constexpr std::uint8_t kLargeFirst = 0xE0;

static_assert((kLive & (kClasses - 1)) == 0 && (kFree & (kClasses - 1)) == 0 && (kWatched & (kClasses - 1)) == 0);
static_assert(kLive + kClasses - 1 < kWatched && kFree + kClasses - 1 < kLive && kWatched + kClasses - 1 < kLargeFirst);

constexpr std::uint8_t live(std::size_t size_class) { return static_cast<std::uint8_t>(kLive | size_class); }
constexpr std::uint8_t free(std::size_t size_class) { return static_cast<std::uint8_t>(kFree | size_class); }
constexpr std::uint8_t watched(std::size_t size_class) { return static_cast<std::uint8_t>(kWatched | size_class); }

// The class of a live, unwatched header; kClasses or more if it is none.
constexpr std::size_t live_class(std::uint32_t header) { return header ^ kLive; }

// The same of a live and watched one.
constexpr std::size_t watched_class(std::uint32_t header) { return header ^ kWatched; }

inline std::uint8_t *location(std::uintptr_t block) { return pointer_to<std::uint8_t>(block - 1); }
// Plain moves to the machine. Audits look at headers while their blocks are handed out and freed.
inline void store(void *block, std::uint8_t header) {
    __atomic_store_n(static_cast<std::uint8_t *>(block) - 1, header, __ATOMIC_RELAXED);
}
// Or are the program's memory by now, if the block has gone: no race that could be mended.
__attribute__((no_sanitize("thread"))) inline std::uint8_t load(const void *block) {
    return __atomic_load_n(static_cast<const std::uint8_t *>(block) - 1, __ATOMIC_RELAXED);
}

// Puts a header in place and tells what it was, so that one of several threads gets the old one.
inline std::uint8_t exchange(void *block, std::uint8_t header) {
    return __atomic_exchange_n(static_cast<std::uint8_t *>(block) - 1, header, __ATOMIC_ACQ_REL);
}

// Changes a header only if it still is `found`.
inline bool replace(void *block, std::uint8_t found, std::uint8_t header) {
    return __atomic_compare_exchange_n(static_cast<std::uint8_t *>(block) - 1, &found, header, false, __ATOMIC_ACQ_REL,
                                       __ATOMIC_RELAXED);
}

// What a guarded load yields where the byte can't be read: no valid header.
inline constexpr std::uint8_t kUnreadable = 0;

// As load, for a pointer of unknown origin. The instruction's address stands in the section `hakmem_guarded_loads`
// with the address to go on at: a SIGSEGV handler that finds the fault there (diag/fault_handler) sets the result to
// kUnreadable and resumes, so that the free of an unmapped address can be reported. Costs nothing over a plain load.
inline std::uint32_t guarded_load(const void *block) {
#if defined(__x86_64__)
    std::uint32_t header;
    asm("1: movzbl -1(%1), %0\n"
        "2:\n"
        ".pushsection hakmem_guarded_loads, \"a\", @progbits\n"
        ".balign 4\n"
        ".long 1b - ., 2b - .\n"
        ".popsection"
        : "=a"(header)
        : "r"(block), "m"(static_cast<const std::uint8_t *>(block)[-1]));
    return header;
#else
    return load(block);
#endif
}

}  // namespace hakmem::header_byte
