// What POSIX, C23, C++20 and glibc's manual say of malloc and its family, case by case.
//
//   conformance          runs every case, each in a child of its own; a line for each thing that isn't as it should be
//   conformance CASE     runs that case here
//
// A line is `CASE: SOURCE: EXPRESSION`. A case that a signal ends says so. The status is 1 where there was any line.
// Nothing here belongs to hakmem: the same program runs under any allocator, which is what keeps it honest.
#include <dlfcn.h>
#include <malloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

// In no header of glibc 2.36.
extern "C" {
void free_sized(void *, size_t) __attribute__((weak));
void free_aligned_sized(void *, size_t, size_t) __attribute__((weak));
#ifdef __x86_64__
// As programs from before glibc 2.26 call it.
__asm__(".symver cfree_of_old, cfree@GLIBC_2.2.5");
void cfree_of_old(void *);
#endif
}

namespace {

const char *running = "";
bool failed = false;

void check(bool right, const char *source, const char *expression) {
    if (right) return;
    failed = true;
    printf("%s: %s: %s\n", running, source, expression);
    fflush(stdout);
}
#define C23(expression) check((expression), "C23", #expression)
#define POSIX(expression) check((expression), "POSIX", #expression)
#define GLIBC(expression) check((expression), "glibc manual", #expression)
#define CXX(expression) check((expression), "C++20", #expression)

// The optimizer must see neither sizes nor that a block is unused.
template <typename T>
T hidden(T value) {
    asm volatile("" : "+r"(value) : : "memory");
    return value;
}

constexpr size_t kTooMuch = static_cast<size_t>(PTRDIFF_MAX) + 1;
// Around every size class, page and unit that allocators like to switch at.
const std::vector<size_t> &sizes() {
    static const std::vector<size_t> all = [] {
        std::vector<size_t> made;
        for (size_t n = 0; n <= 1100; ++n) made.push_back(n);
        for (size_t power = 2048; power <= (size_t{16} << 20); power *= 2) {
            for (const size_t base : {power, power + power / 4, power + power / 2, power + 3 * power / 4}) {
                for (const size_t n : {base - 17, base - 16, base - 1, base, base + 1, base + 15, base + 16, base + 17})
                    made.push_back(n);
            }
        }
        return made;
    }();
    return all;
}

uintptr_t address(const void *block) { return reinterpret_cast<uintptr_t>(block); }
bool aligned(const void *block, size_t alignment) { return address(block) % alignment == 0; }

// A pattern over the first bytes, the last ones and one in each page: all that a copy could lose, at small cost.
template <typename See>
void sparsely(size_t bytes, See see) {
    for (size_t i = 0; i < bytes && i < 512; ++i) see(i);
    for (size_t i = 1024; i < bytes; i += 1024) see(i);
}
unsigned char pattern(size_t i, unsigned seed) { return static_cast<unsigned char>(i * 31 + i / 1024 + seed); }
void fill(void *block, size_t bytes, unsigned seed) {
    auto *at = static_cast<unsigned char *>(block);
    sparsely(bytes, [&](size_t i) { at[i] = pattern(i, seed); });
    if (bytes != 0) at[bytes - 1] = pattern(bytes - 1, seed);
}
// Of a block that was filled for as many bytes or for more.
bool begins_filled(const void *block, size_t bytes, unsigned seed) {
    const auto *at = static_cast<const unsigned char *>(block);
    bool same = true;
    sparsely(bytes, [&](size_t i) { same = same && at[i] == pattern(i, seed); });
    return same;
}
bool filled(const void *block, size_t bytes, unsigned seed) {
    return begins_filled(block, bytes, seed) &&
           (bytes == 0 || static_cast<const unsigned char *>(block)[bytes - 1] == pattern(bytes - 1, seed));
}
bool zero(const void *block, size_t bytes) {
    const auto *at = static_cast<const unsigned char *>(block);
    for (size_t i = 0; i < bytes; ++i)
        if (at[i] != 0) return false;
    return true;
}

// ---- malloc and free ----

void malloc_alignment() {
    bool max_align = true;
    for (const size_t n : sizes()) {
        void *block = hidden(malloc(n));
        // Less than its alignment's size fits no object of that alignment: C23 lets malloc align it less.
        const size_t wanted = n >= alignof(max_align_t) ? alignof(max_align_t) : n >= 8 ? 8 : 1;
        max_align = max_align && block != nullptr && aligned(block, wanted);
        free(block);
    }
    C23(max_align);
}

void malloc_alignment_of_small_sizes() {
    bool sixteen = true;
    for (size_t n = 0; n < 16; ++n) {
        void *block = hidden(malloc(n));
        sixteen = sixteen && aligned(block, 16);
        free(block);
    }
    GLIBC(sixteen);
}

void malloc_zero() {
    void *one = hidden(malloc(0)), *other = hidden(malloc(0));
    GLIBC(one != nullptr && other != nullptr);
    POSIX(one != other);
    free(one);
    free(other);
}

void malloc_blocks_are_disjoint() {
    std::vector<unsigned char *> blocks;
    bool kept = true;
    unsigned seed = 0;
    for (const size_t n : sizes()) {
        if (n > 300000) continue;
        auto *block = static_cast<unsigned char *>(hidden(malloc(n)));
        fill(block, n, seed++);
        blocks.push_back(block);
    }
    seed = 0;
    for (const size_t n : sizes()) {
        if (n > 300000) continue;
        kept = kept && filled(blocks[seed], n, seed);
        ++seed;
    }
    for (unsigned char *block : blocks) free(block);
    C23(kept);
}

void malloc_too_much() {
    for (const size_t n : {kTooMuch, kTooMuch + 1, SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 15, SIZE_MAX - 16,
                           SIZE_MAX - 4095, SIZE_MAX - 4096, SIZE_MAX - 8191, SIZE_MAX - (size_t{2} << 20),
                           static_cast<size_t>(PTRDIFF_MAX), static_cast<size_t>(PTRDIFF_MAX) - 4096}) {
        errno = 0;
        void *block = hidden(malloc(hidden(n)));
        POSIX(block == nullptr);
        POSIX(errno == ENOMEM);
    }
}

void errno_is_never_zeroed() {
    bool kept = true;
    for (const size_t n : sizes()) {
        errno = EDOM;
        free(hidden(calloc(1, n)));
        kept = kept && errno != 0;
    }
    C23(kept);
}

void free_keeps_errno() {
    std::vector<void *> blocks;
    bool kept = true;
    for (const size_t n : sizes()) blocks.push_back(hidden(malloc(n)));
    for (void *block : blocks) {
        errno = EDOM;
        free(block);
        kept = kept && errno == EDOM;
    }
    errno = EDOM;
    free(hidden(static_cast<void *>(nullptr)));
    POSIX(kept);
    POSIX(errno == EDOM);
}

void free_sized_frees() {
    GLIBC(free_sized != nullptr && free_aligned_sized != nullptr);
    if (free_sized == nullptr || free_aligned_sized == nullptr) return;
    errno = EDOM;
    free_sized(nullptr, 0);
    free_aligned_sized(nullptr, 64, 0);
    for (const size_t n : {size_t{0}, size_t{1}, size_t{100}, size_t{5000}, size_t{70000}, size_t{5} << 20}) {
        free_sized(hidden(malloc(n)), n);
        free_sized(hidden(calloc(n, 1)), n);
        free_sized(hidden(realloc(malloc(7), n + 1)), n + 1);
        for (const size_t alignment : {size_t{16}, size_t{64}, size_t{4096}, size_t{65536}})
            free_aligned_sized(hidden(aligned_alloc(alignment, n)), alignment, n);
    }
    C23(errno == EDOM);
}

// ---- calloc ----

void calloc_zeroes() {
    bool zeroed = true, right = true;
    // Dirty memory of every kind goes back first.
    for (int round = 0; round < 2; ++round) {
        for (const size_t n : sizes()) {
            void *dirty = hidden(malloc(n));
            memset(dirty, 0xEE, n);
            hidden(dirty);
            free(dirty);
            void *block = hidden(calloc(n, 1));
            right = right && block != nullptr && (n < 16 || aligned(block, alignof(max_align_t)));
            zeroed = zeroed && zero(block, n);
            memset(block, 0xEE, n);
            hidden(block);
            free(block);
        }
    }
    C23(zeroed);
    C23(right);
}

void calloc_overflow() {
    const size_t half = size_t{1} << 32;
    const size_t pairs[][2] = {{half, half},         {SIZE_MAX, 2},        {2, SIZE_MAX},
                               {SIZE_MAX, SIZE_MAX}, {half + 1, half - 1}, {SIZE_MAX / 2 + 1, 2},
                               {kTooMuch, 1},        {1, kTooMuch},        {SIZE_MAX / 16 + 2, 16},
                               {1, SIZE_MAX},        {PTRDIFF_MAX, 1}};
    for (const auto &[count, size] : pairs) {
        errno = 0;
        POSIX(hidden(calloc(hidden(count), hidden(size))) == nullptr);
        POSIX(errno == ENOMEM);
    }
}

void calloc_zero() {
    const size_t pairs[][2] = {{0, 0}, {0, 8}, {8, 0}, {0, SIZE_MAX}, {SIZE_MAX, 0}};
    for (const auto &[count, size] : pairs) {
        void *one = hidden(calloc(hidden(count), hidden(size))), *other = hidden(calloc(hidden(count), hidden(size)));
        GLIBC(one != nullptr && other != nullptr);
        POSIX(one == nullptr || one != other);
        free(one);
        free(other);
    }
}

// ---- realloc ----

void realloc_of_null() {
    void *block = hidden(realloc(hidden(static_cast<void *>(nullptr)), 100));
    C23(block != nullptr);
    free(block);
    block = hidden(realloc(hidden(static_cast<void *>(nullptr)), 0));
    GLIBC(block != nullptr);
    free(block);
}

void realloc_to_zero() {
    for (const size_t n : {size_t{0}, size_t{1}, size_t{1000}, size_t{100000}, size_t{20} << 20}) {
        errno = EDOM;
        void *block = hidden(realloc(hidden(malloc(n)), hidden(size_t{0})));
        GLIBC(block == nullptr);
        GLIBC(errno == EDOM);
    }
}

void realloc_keeps_contents() {
    const size_t steps[] = {1,
                            15,
                            16,
                            17,
                            100,
                            1000,
                            5000,
                            8191,
                            8192,
                            8193,
                            20000,
                            70000,
                            300000,
                            size_t{1} << 20,
                            size_t{3} << 20,
                            size_t{40} << 20};
    bool kept = true;
    for (const size_t from : steps) {
        for (const size_t to : steps) {
            void *block = hidden(malloc(from));
            fill(block, from, 7);
            block = hidden(realloc(block, to));
            const size_t least = from < to ? from : to;
            kept = kept && block != nullptr && (from <= to ? filled(block, least, 7) : begins_filled(block, least, 7));
            fill(block, to, 9);  // all of the new size belongs to the program
            free(block);
        }
    }
    C23(kept);
}

void realloc_step_by_step() {
    bool kept = true;
    auto *block = static_cast<unsigned char *>(hidden(malloc(1)));
    block[0] = 42;
    size_t last = 1;
    for (size_t n = 1; n < 3000000; n += n / 3 + 1) {
        block = static_cast<unsigned char *>(hidden(realloc(block, n)));
        kept = kept && block[0] == 42 && block[last - 1] == 42;
        block[n - 1] = 42;
        last = n;
    }
    for (size_t n = last; n > 1; n -= n / 3 + 1) {
        block[n - 1] = 42;
        block = static_cast<unsigned char *>(hidden(realloc(block, n)));
        kept = kept && block[0] == 42 && block[n - 1] == 42;
    }
    free(block);
    C23(kept);
}

void realloc_that_fails() {
    // Sizes whose number of pages, or whose half or eighth more, no longer fits a word.
    std::vector<size_t> requests = {kTooMuch, SIZE_MAX, SIZE_MAX - 16, SIZE_MAX - 4096, PTRDIFF_MAX};
    for (unsigned bit = 47; bit < 63; ++bit) requests.push_back((size_t{1} << bit) + 8192);
    for (const size_t nth : {size_t{2}, size_t{4}, size_t{8}}) {
        const size_t wraps = SIZE_MAX / (nth + 1) * nth;
        for (const size_t more : {size_t{0}, size_t{64}, size_t{1000}, size_t{4096}, size_t{100000}, size_t{16} << 20})
            requests.push_back(wraps + more);
    }
    for (const size_t n : {size_t{1}, size_t{100}, size_t{5000}, size_t{70000}, size_t{3} << 20, size_t{40} << 20}) {
        void *block = hidden(malloc(n));
        fill(block, n, 3);
        bool refused = true, said = true, kept = true;
        for (const size_t request : requests) {
            errno = 0;
            void *moved = hidden(realloc(hidden(block), hidden(request)));
            refused = refused && moved == nullptr;
            said = said && errno == ENOMEM;
            if (moved != nullptr) block = moved;
            kept = kept && filled(block, n, 3);
        }
        POSIX(refused);
        POSIX(said);
        POSIX(kept);
        free(block);
    }
}

void realloc_of_aligned_blocks() {
    bool kept = true;
    for (size_t alignment = 32; alignment <= (size_t{4} << 20); alignment *= 4) {
        for (const size_t from : {size_t{24}, size_t{1000}, size_t{9000}, size_t{200000}}) {
            for (const size_t to : {size_t{8}, size_t{999}, size_t{10000}, size_t{3} << 20}) {
                void *block = hidden(aligned_alloc(alignment, from));
                fill(block, from, 5);
                block = hidden(realloc(block, to));
                kept = kept && begins_filled(block, from < to ? from : to, 5);
                fill(block, to, 6);
                free(block);
            }
        }
    }
    POSIX(kept);
}

void reallocarray_overflow() {
    const size_t half = size_t{1} << 32;
    const size_t pairs[][2] = {{half, half}, {SIZE_MAX, 2}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX, SIZE_MAX}, {kTooMuch, 1}};
    void *block = hidden(malloc(100));
    fill(block, 100, 1);
    for (const auto &[count, size] : pairs) {
        errno = 0;
        GLIBC(hidden(reallocarray(block, hidden(count), hidden(size))) == nullptr);
        GLIBC(errno == ENOMEM);
        GLIBC(filled(block, 100, 1));
    }
    block = hidden(reallocarray(block, 1000, 8));
    GLIBC(block != nullptr && begins_filled(block, 100, 1));
    free(block);
    free(hidden(reallocarray(hidden(static_cast<void *>(nullptr)), 10, 10)));
}

// ---- alignment ----

void posix_memalign_aligns() {
    bool right = true, kept_errno = true;
    for (size_t alignment = sizeof(void *); alignment <= (size_t{8} << 20); alignment *= 2) {
        for (const size_t n : {size_t{0}, size_t{1}, size_t{17}, size_t{1000}, size_t{8000}, size_t{9000},
                               size_t{100000}, size_t{3} << 20}) {
            void *block = hidden(static_cast<void *>(nullptr));
            errno = EDOM;
            right = right && posix_memalign(&block, alignment, n) == 0 && aligned(block, alignment);
            right = right && (block != nullptr || n == 0);
            kept_errno = kept_errno && errno == EDOM;
            fill(block, n, 1);
            free(block);
        }
    }
    POSIX(right);
    GLIBC(kept_errno);
}

void posix_memalign_refuses() {
    void *untouched = &untouched;
    void *block = untouched;
    for (const size_t alignment : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{3}, size_t{9}, size_t{12},
                                   size_t{24}, size_t{48}, size_t{4095}, SIZE_MAX, kTooMuch + 8}) {
        errno = EDOM;
        POSIX(posix_memalign(&block, hidden(alignment), 100) == EINVAL);
        GLIBC(block == untouched);
        GLIBC(errno == EDOM);
    }
    for (const size_t n : {kTooMuch, SIZE_MAX, SIZE_MAX - 15, SIZE_MAX - 4096, static_cast<size_t>(PTRDIFF_MAX)}) {
        for (const size_t alignment : {size_t{8}, size_t{64}, size_t{4096}, size_t{1} << 20}) {
            POSIX(posix_memalign(&block, alignment, hidden(n)) == ENOMEM);
            GLIBC(block == untouched);
        }
    }
    POSIX(posix_memalign(&block, hidden(kTooMuch), 100) == ENOMEM);
    GLIBC(block == untouched);
}

void aligned_alloc_aligns() {
    bool right = true;
    for (size_t alignment = 1; alignment <= (size_t{8} << 20); alignment *= 2) {
        // C23 no longer asks for a size that is a multiple.
        for (const size_t n : {size_t{0}, size_t{1}, alignment, 3 * alignment, alignment + 1, size_t{5000}}) {
            void *block = hidden(aligned_alloc(alignment, n));
            right = right && block != nullptr && aligned(block, alignment);
            if (block != nullptr) fill(block, n, 2);
            free(block);
        }
    }
    C23(right);
}

void aligned_alloc_refuses() {
    for (const size_t alignment : {size_t{0}, size_t{3}, size_t{24}, size_t{100}, SIZE_MAX}) {
        errno = 0;
        void *block = hidden(aligned_alloc(hidden(alignment), 96));
        C23(block == nullptr);
        GLIBC(errno == EINVAL);
        free(block);
    }
    for (const size_t alignment : {size_t{16}, size_t{64}, size_t{4096}, kTooMuch}) {
        errno = 0;
        C23(hidden(aligned_alloc(hidden(alignment), hidden(kTooMuch))) == nullptr);
        GLIBC(errno == ENOMEM);
    }
}

void memalign_rounds_up() {
    bool right = true;
    for (const size_t alignment : {size_t{1}, size_t{8}, size_t{64}, size_t{4096}, size_t{2} << 20}) {
        void *block = hidden(memalign(alignment, 100));
        right = right && block != nullptr && aligned(block, alignment);
        free(block);
    }
    GLIBC(right);
    GLIBC(hidden(memalign(4096, hidden(kTooMuch))) == nullptr);
}

void valloc_and_pvalloc() {
    const auto page = static_cast<size_t>(getpagesize());
    bool whole_pages = true, on_pages = true;
    for (const size_t n : {size_t{0}, size_t{1}, page - 1, page, page + 1, 10 * page + 1}) {
        void *block = hidden(valloc(n)), *rounded = hidden(pvalloc(n));
        on_pages = on_pages && block != nullptr && aligned(block, page) && rounded != nullptr && aligned(rounded, page);
        whole_pages = whole_pages && malloc_usable_size(rounded) >= (n + page - 1) / page * page;
        fill(rounded, (n + page - 1) / page * page, 1);
        free(block);
        free(rounded);
    }
    GLIBC(on_pages);
    GLIBC(whole_pages);
    for (const size_t n : {kTooMuch, SIZE_MAX, SIZE_MAX - page + 1, SIZE_MAX - page, SIZE_MAX - page - 1}) {
        errno = 0;
        GLIBC(hidden(valloc(hidden(n))) == nullptr);
        GLIBC(errno == ENOMEM);
        errno = 0;
        GLIBC(hidden(pvalloc(hidden(n))) == nullptr);
        GLIBC(errno == ENOMEM);
    }
}

// ---- what glibc adds ----

void usable_size() {
    GLIBC(malloc_usable_size(hidden(static_cast<void *>(nullptr))) == 0);
    bool enough = true, disjoint = true;
    for (const size_t n : sizes()) {
        if (n > 300000) continue;
        auto *block = static_cast<unsigned char *>(hidden(malloc(n)));
        auto *next = static_cast<unsigned char *>(hidden(malloc(n)));
        const size_t usable = malloc_usable_size(block);
        enough = enough && usable >= n;
        fill(next, n, 4);
        memset(block, 0xAB, usable);  // all of it is the program's
        hidden(block);
        disjoint = disjoint && filled(next, n, 4);
        free(block);
        free(next);
        for (const size_t alignment : {size_t{64}, size_t{4096}}) {
            void *placed = hidden(aligned_alloc(alignment, n));
            const size_t room = malloc_usable_size(placed);
            enough = enough && room >= n;
            memset(placed, 0xAB, room);
            free(placed);
        }
    }
    GLIBC(enough);
    GLIBC(disjoint);
}

void trim_keeps_blocks() {
    std::vector<void *> kept, gone;
    for (unsigned i = 0; i < 4000; ++i) {
        void *block = hidden(malloc(i * 7 % 20000 + 1));
        fill(block, i * 7 % 20000 + 1, i);
        (i % 16 == 0 ? kept : gone).push_back(block);
    }
    for (void *block : gone) free(block);
    const int released = malloc_trim(0);
    GLIBC(released == 0 || released == 1);
    bool whole = true;
    for (unsigned i = 0; i < kept.size(); ++i) whole = whole && filled(kept[i], 16 * i * 7 % 20000 + 1, 16 * i);
    GLIBC(whole);
    for (void *block : kept) free(block);
}

void mallinfo_counts() {
    const struct mallinfo2 before = mallinfo2();
    void *block = hidden(malloc(size_t{50} << 20));
    memset(block, 1, size_t{50} << 20);
    const struct mallinfo2 with = mallinfo2();
    GLIBC(with.uordblks + with.hblkhd >= before.uordblks + before.hblkhd + (size_t{50} << 20));
    GLIBC(with.arena + with.hblkhd >= with.uordblks);
    free(block);
    const struct mallinfo2 after = mallinfo2();
    GLIBC(after.uordblks + after.hblkhd < with.uordblks + with.hblkhd);
}

void mallopt_answers() {
    GLIBC(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1);
    GLIBC(mallopt(M_TRIM_THRESHOLD, 1 << 20) == 1);
    GLIBC(mallopt(M_ARENA_MAX, 1) == 1);
}

void malloc_info_writes_xml() {
    char *text = nullptr;
    size_t bytes = 0;
    FILE *stream = open_memstream(&text, &bytes);
    GLIBC(malloc_info(0, stream) == 0);
    fclose(stream);
    GLIBC(strncmp(text, "<malloc version=", 16) == 0);
    GLIBC(strstr(text, "</malloc>\n") != nullptr);
    free(text);
    GLIBC(malloc_info(1, stderr) == EINVAL);
}

// Whoever frees by libc's own entry points hands our blocks to libc's heap: each public name of libc's has to be the
// preloaded library's. `cfree` is there for programs from before glibc 2.26.
void every_name_is_answered_by_one_library() {
    const char *const names[] = {
        "malloc",        "free",           "calloc",  "realloc",  "reallocarray",       "memalign",
        "aligned_alloc", "posix_memalign", "valloc",  "pvalloc",  "malloc_usable_size", "malloc_trim",
        "malloc_stats",  "malloc_info",    "mallopt", "mallinfo", "mallinfo2"};
    Dl_info owner{};
    dladdr(dlsym(RTLD_DEFAULT, "malloc"), &owner);
    for (const char *name : names) {
        Dl_info other{};
        const bool same = dladdr(dlsym(RTLD_DEFAULT, name), &other) != 0 && other.dli_fbase == owner.dli_fbase;
        check(same, "glibc manual", name);
    }
#ifdef __x86_64__
    Dl_info other{};
    dladdr(reinterpret_cast<void *>(hidden(&cfree_of_old)), &other);
    check(other.dli_fbase == owner.dli_fbase, "glibc manual", "cfree");
    cfree_of_old(hidden(malloc(100)));
#endif
}

// ---- operator new ----

template <typename Call>
bool throws_bad_alloc(Call call) {
    try {
        hidden(call());
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

void new_zero() {
    void *one = hidden(::operator new(0)), *other = hidden(::operator new(0));
    CXX(one != nullptr && other != nullptr && one != other);
    ::operator delete(one);
    ::operator delete(other);
    one = hidden(::operator new[](0, std::nothrow));
    CXX(one != nullptr);
    ::operator delete[](one, std::nothrow);
    ::operator delete(hidden(static_cast<void *>(nullptr)));
    ::operator delete[](hidden(static_cast<void *>(nullptr)), size_t{8});
}

void new_too_much() {
    constexpr std::align_val_t line{64}, pages{1 << 16};
    const size_t much = hidden(kTooMuch);
    CXX(throws_bad_alloc([&] { return ::operator new(much); }));
    CXX(throws_bad_alloc([&] { return ::operator new[](much); }));
    CXX(throws_bad_alloc([&] { return ::operator new(much, line); }));
    CXX(throws_bad_alloc([&] { return ::operator new[](much, pages); }));
    CXX(::operator new(much, std::nothrow) == nullptr);
    CXX(::operator new[](much, std::nothrow) == nullptr);
    CXX(::operator new(much, line, std::nothrow) == nullptr);
    CXX(::operator new[](much, pages, std::nothrow) == nullptr);
}

void new_alignment() {
    bool right = true;
    for (size_t n = 0; n < 40000; n = n * 5 / 4 + 1) {
        for (size_t alignment = 1; alignment <= (size_t{1} << 21); alignment *= 2) {
            const auto align = static_cast<std::align_val_t>(alignment);
            void *object = hidden(::operator new(n, align)), *array = hidden(::operator new[](n, align, std::nothrow));
            right = right && aligned(object, alignment) && aligned(array, alignment);
            fill(object, n, 1);
            fill(array, n, 1);
            ::operator delete(object, n, align);
            ::operator delete[](array, align);
        }
    }
    CXX(right);
}

int handler_calls = 0;

void new_handler_is_called_until_it_gives_up() {
    std::set_new_handler([] {
        if (++handler_calls == 3) std::set_new_handler(nullptr);
    });
    CXX(throws_bad_alloc([] { return ::operator new(hidden(kTooMuch)); }));
    CXX(handler_calls == 3);
}

void new_handler_makes_room() {
    rlimit limit{};
    getrlimit(RLIMIT_AS, &limit);
    static void *reserve =
        mmap(nullptr, size_t{1} << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    // All that is mapped and a little more.
    FILE *statm = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (statm == nullptr || fscanf(statm, "%lu", &pages) != 1) return;
    fclose(statm);
    limit.rlim_cur = pages * static_cast<unsigned long>(getpagesize()) + (size_t{64} << 20);
    setrlimit(RLIMIT_AS, &limit);
    std::set_new_handler([] {
        ++handler_calls;
        if (munmap(reserve, size_t{1} << 30) != 0 || handler_calls > 1) std::set_new_handler(nullptr);
    });
    void *block = hidden(::operator new (size_t{512} << 20, std::nothrow));
    CXX(block != nullptr);
    CXX(handler_calls == 1);
    ::operator delete(block);
}

void new_handler_throws() {
    std::set_new_handler([] { throw std::bad_alloc(); });
    CXX(throws_bad_alloc([] { return ::operator new(hidden(kTooMuch)); }));
    CXX(throws_bad_alloc([] { return ::operator new[](hidden(kTooMuch), std::align_val_t{64}); }));
    // The forms that don't throw answer nullptr whatever the handler throws.
    bool threw = false;
    try {
        CXX(::operator new(hidden(kTooMuch), std::nothrow) == nullptr);
        CXX(::operator new[](hidden(kTooMuch), std::nothrow) == nullptr);
        CXX(::operator new (hidden(kTooMuch), std::align_val_t{64}, std::nothrow) == nullptr);
        CXX(::operator new[](hidden(kTooMuch), std::align_val_t{64}, std::nothrow) == nullptr);
    } catch (const std::bad_alloc &) {
        threw = true;
    }
    CXX(!threw);
}

// ---- limits ----

void limit_address_space() {
    FILE *statm = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    if (statm == nullptr || fscanf(statm, "%lu", &pages) != 1) return;
    fclose(statm);
    static void *blocks[1000000];
    const size_t room = pages * static_cast<unsigned long>(getpagesize()) + (size_t{48} << 20);
    const rlimit limit{room, room};
    setrlimit(RLIMIT_AS, &limit);
    for (const size_t n : {size_t{100}, size_t{5000}, size_t{100000}, size_t{3} << 20}) {
        size_t made = 0;
        errno = 0;
        while (made < std::size(blocks) && (blocks[made] = hidden(malloc(n))) != nullptr) {
            fill(blocks[made], n, static_cast<unsigned>(made));
            ++made;
        }
        if (made < std::size(blocks)) POSIX(errno == ENOMEM);
        POSIX(made >= 4);
        // What there is stays whole, can shrink, and its memory can be had again.
        bool whole = true;
        for (size_t i = 0; i < made; ++i) whole = whole && filled(blocks[i], n, static_cast<unsigned>(i));
        C23(whole);
        bool shrinks = true;
        for (size_t i = 0; i < made; i += 97) {
            void *smaller = hidden(realloc(blocks[i], n / 3));
            shrinks = shrinks && smaller != nullptr;
            if (smaller != nullptr) blocks[i] = smaller;
        }
        GLIBC(shrinks);
        for (size_t i = 0; i < made; ++i) free(blocks[i]);
        malloc_trim(0);
        void *again = hidden(malloc(n));
        POSIX(again != nullptr);
        free(again);
    }
}

struct Case {
    const char *name;
    void (*run)();
};
#define CASE(name) \
    { #name, name }
constexpr Case kCases[] = {
    CASE(malloc_alignment),
    CASE(malloc_alignment_of_small_sizes),
    CASE(malloc_zero),
    CASE(malloc_blocks_are_disjoint),
    CASE(malloc_too_much),
    CASE(errno_is_never_zeroed),
    CASE(free_keeps_errno),
    CASE(free_sized_frees),
    CASE(calloc_zeroes),
    CASE(calloc_overflow),
    CASE(calloc_zero),
    CASE(realloc_of_null),
    CASE(realloc_to_zero),
    CASE(realloc_keeps_contents),
    CASE(realloc_step_by_step),
    CASE(realloc_that_fails),
    CASE(realloc_of_aligned_blocks),
    CASE(reallocarray_overflow),
    CASE(posix_memalign_aligns),
    CASE(posix_memalign_refuses),
    CASE(aligned_alloc_aligns),
    CASE(aligned_alloc_refuses),
    CASE(memalign_rounds_up),
    CASE(valloc_and_pvalloc),
    CASE(usable_size),
    CASE(trim_keeps_blocks),
    CASE(mallinfo_counts),
    CASE(mallopt_answers),
    CASE(malloc_info_writes_xml),
    CASE(every_name_is_answered_by_one_library),
    CASE(new_zero),
    CASE(new_too_much),
    CASE(new_alignment),
    CASE(new_handler_is_called_until_it_gives_up),
    CASE(new_handler_makes_room),
    CASE(new_handler_throws),
    CASE(limit_address_space),
};

bool run_here(const Case &test) {
    running = test.name;
    test.run();
    return !failed;
}

bool run_in_child(const Case &test) {
    const pid_t child = fork();
    if (child == 0) _exit(run_here(test) ? 0 : 1);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) return false;
    if (WIFSIGNALED(status)) printf("%s: ended by signal %d\n", test.name, WTERMSIG(status));
    fflush(stdout);
    return status == 0;
}

}  // namespace

int main(int argc, char **argv) {
    bool all = true;
    int found = 0;
    for (const Case &test : kCases) {
        if (argc > 1 && strcmp(argv[1], test.name) != 0) continue;
        ++found;
        all = (argc > 1 ? run_here(test) : run_in_child(test)) && all;
    }
    if (found == 0) return 2;
    if (argc == 1) fprintf(stderr, "%d cases\n", found);
    return all ? 0 : 1;
}
