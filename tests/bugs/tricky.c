// Correct programs that a careless allocator, or a careless diagnosis, gets wrong. One thread.
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "bug.h"

static void zero_sizes(size_t size) {
    void *blocks[100];
    for (int i = 0; i < 100; ++i) {
        blocks[i] = malloc(0);
        check(blocks[i] != NULL, "malloc(0)");
        for (int j = 0; j < i; ++j) check(blocks[i] != blocks[j], "malloc(0) gives distinct pointers");
    }
    for (int i = 0; i < 100; ++i) free(blocks[i]);
    free(calloc(0, 8));
    free(calloc(8, 0));
    free(realloc(malloc(0), 10));
    // Often enough that not all of them have guard pages.
    for (int round = 0; round < 20; ++round) {
        for (size_t alignment = sizeof(void *); alignment <= 1 << 20; alignment *= 2) {
            void *block = NULL;
            check(posix_memalign(&block, alignment, 0) == 0, "aligned, of no bytes");
            block = realloc(block, 10);
            check(block != NULL, "realloc of no bytes");
            memset(block, 1, 10);
            free(block);
        }
    }
    (void)size;
}

static void free_null(size_t size) {
    free(NULL);
    free(opaque(NULL));
    check(malloc_usable_size(NULL) == 0, "malloc_usable_size(NULL)");
    (void)size;
}

static void realloc_null(size_t size) {
    char *p = realloc(NULL, size);
    memset(p, 'r', size);
    free(p);
}

static void realloc_to_zero(size_t size) {
    for (int i = 0; i < 100; ++i) {
        char *p = malloc(size);
        void *q = realloc(p, 0);
        check(q == NULL, "realloc(p, 0) frees, as in glibc");
    }
}

static void realloc_up_and_down(size_t size) {
    char *p = NULL;
    size_t last = 0;
    for (size_t n = 1; n < size; n = n * 3 / 2 + 1) {
        p = realloc(p, n);
        check_bytes((unsigned char *)p, last, 'u', "contents after realloc up");
        memset(p, 'u', n);
        last = n;
    }
    for (; last > 0; last = last * 2 / 3) {
        p = realloc(p, last);
        check_bytes((unsigned char *)p, last, 'u', "contents after realloc down");
    }
    free(p);
}

static void realloc_same_size(size_t size) {
    char *p = malloc(size);
    memset(p, 's', size);
    for (int i = 0; i < 1000; ++i) p = realloc(p, size);
    check_bytes((unsigned char *)p, size, 's', "contents after realloc");
    free(p);
}

void free_sized(void *, size_t) __attribute__((weak));

static void realloc_of_aligned(size_t size) {
    for (size_t alignment = 16; alignment <= 65536; alignment *= 2) {
        char *p = aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
        check(((uintptr_t)p & (alignment - 1)) == 0, "alignment");
        memset(p, 'a', size);
        p = realloc(p, size * 3);
        check_bytes((unsigned char *)p, size, 'a', "contents after realloc");
        p = realloc(p, size / 2 + 1);
        check_bytes((unsigned char *)p, size / 2 + 1, 'a', "contents after realloc");
        free(p);
        // A little smaller: the size that it is freed with is the new one.
        p = realloc(aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment), size - 1);
        if (free_sized != NULL)
            free_sized(p, size - 1);
        else
            free(p);
    }
}

// malloc_usable_size is a promise: every byte of it may be written.
static void usable_bytes(size_t size) {
    enum { kBlocks = 600 };
    unsigned char *blocks[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
        blocks[i] = malloc(1 + (size_t)i * size / 100);
        memset(blocks[i], i & 0xFF, malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < kBlocks; ++i) {
        check(malloc_usable_size(blocks[i]) >= 1 + (size_t)i * size / 100, "malloc_usable_size");
        check_bytes(blocks[i], malloc_usable_size(blocks[i]), i & 0xFF, "contents of a block");
        free(blocks[i]);
    }
}

static void usable_bytes_of_aligned(size_t size) {
    for (size_t alignment = 16; alignment <= 8192; alignment *= 2) {
        unsigned char *blocks[50];
        for (int i = 0; i < 50; ++i) {
            blocks[i] = memalign(alignment, 1 + size * (size_t)i / 10);
            memset(blocks[i], 'm', malloc_usable_size(blocks[i]));
        }
        for (int i = 0; i < 50; ++i) {
            check_bytes(blocks[i], malloc_usable_size(blocks[i]), 'm', "contents of a block");
            free(blocks[i]);
        }
    }
}

static void every_size(size_t size) {
    for (size_t n = 0; n <= size; ++n) {
        unsigned char *p = malloc(n);
        unsigned char *q = malloc(n);
        memset(p, 'p', n);
        memset(q, 'q', n);
        check_bytes(p, n, 'p', "contents of a block");
        free(p);
        check_bytes(q, n, 'q', "contents of a block");
        free(q);
    }
}

static void huge_alignments(size_t size) {
    for (size_t alignment = 32; alignment <= (size_t)1 << 26; alignment *= 2) {
        void *p = NULL;
        check(posix_memalign(&p, alignment, size) == 0, "posix_memalign");
        check(((uintptr_t)p & (alignment - 1)) == 0, "alignment");
        memset(p, 'h', size);
        void *q = memalign(alignment, size);
        check(((uintptr_t)q & (alignment - 1)) == 0, "alignment");
        memset(q, 'h', size);
        free(p);
        free(q);
    }
    char *p = valloc(size);
    check(((uintptr_t)p & 4095) == 0, "valloc");
    free(p);
    p = pvalloc(1);
    check(((uintptr_t)p & 4095) == 0 && malloc_usable_size(p) >= 4096, "pvalloc");
    memset(p, 'h', 4096);
    free(p);
}

static void bad_alignments(size_t size) {
    void *p = &p;
    check(posix_memalign(&p, 3, size) == EINVAL, "posix_memalign with a bad alignment");
    check(posix_memalign(&p, 4, size) == EINVAL, "posix_memalign with a bad alignment");
    check(posix_memalign(&p, 0, size) == EINVAL, "posix_memalign with no alignment");
    check(p == &p, "posix_memalign leaves the pointer alone");
}

static void overflowing_sizes(size_t size) {
    errno = 0;
    check(calloc((size_t)opaque((void *)SIZE_MAX) / 2, 4) == NULL && errno == ENOMEM, "calloc overflow");
    errno = 0;
    check(reallocarray(NULL, (size_t)opaque((void *)SIZE_MAX) / 2, 4) == NULL && errno == ENOMEM, "reallocarray");
    errno = 0;
    check(malloc((size_t)opaque((void *)SIZE_MAX)) == NULL && errno == ENOMEM, "malloc of everything");
    errno = 0;
    check(malloc((size_t)opaque((void *)PTRDIFF_MAX) - 100) == NULL && errno == ENOMEM, "malloc of PTRDIFF_MAX");
    errno = 0;
    check(memalign(1 << 20, (size_t)opaque((void *)SIZE_MAX) - 4096) == NULL && errno == ENOMEM, "memalign overflow");
    void *p = malloc(size);
    errno = 0;
    check(realloc(p, (size_t)opaque((void *)SIZE_MAX) - 20) == NULL && errno == ENOMEM, "realloc overflow");
    check(reallocarray(p, SIZE_MAX / 4, 8) == NULL, "reallocarray overflow");
    memset(p, 'o', size);
    free(p);
}

static void errno_is_kept(size_t size) {
    for (int i = 0; i < 2000; ++i) {
        void *p = malloc(size * (size_t)(i % 300 + 1));
        errno = 4711;
        free(p);
        check(errno == 4711, "free keeps errno");
    }
}

// What an allocator asks the kernel for in vain while it frees is not the program's business.
static void errno_without_memory(size_t size) {
    static void *blocks[20000];
    const size_t count = sizeof blocks / sizeof *blocks;
    for (size_t i = 0; i < count; ++i) blocks[i] = malloc(size);
    struct rlimit limit;
    check(getrlimit(RLIMIT_AS, &limit) == 0, "getrlimit");
    const struct rlimit none = {4096, limit.rlim_max};
    check(setrlimit(RLIMIT_AS, &none) == 0, "setrlimit");
    for (size_t i = 0; i < count; ++i) {
        errno = 4711;
        free(blocks[i]);
        check(errno == 4711, "free keeps errno");
    }
    setrlimit(RLIMIT_AS, &limit);
}

static void calloc_is_zero(size_t size) {
    for (int round = 0; round < 20; ++round) {
        unsigned char *blocks[100];
        for (int i = 0; i < 100; ++i) {
            const size_t bytes = size * (size_t)(i + 1);
            blocks[i] = round % 2 ? calloc(1, bytes) : malloc(bytes);
            if (round % 2) check_bytes(blocks[i], bytes, 0, "zeros of calloc");
            memset(blocks[i], 0xEE, bytes);
        }
        for (int i = 0; i < 100; ++i) free(blocks[i]);
    }
}

static void libc_blocks(size_t size) {
    for (int i = 0; i < 500; ++i) {
        char *text = NULL;
        check(asprintf(&text, "%d %s", i, "of libc's own making") > 0, "asprintf");
        char *copy = strdup(text);
        check(strcmp(copy, text) == 0, "strdup");
        char *part = strndup(text, 3);
        free(text);
        free(copy);
        free(part);
    }
    char *here = getcwd(NULL, 0);
    free(here);
    char *path = realpath("/proc/self/exe", NULL);
    check(path != NULL, "realpath");
    free(path);
    (void)size;
}

static void stdio_blocks(size_t size) {
    char *bytes = NULL;
    size_t length = 0;
    FILE *stream = open_memstream(&bytes, &length);
    for (int i = 0; i < 5000; ++i) fprintf(stream, "line %d\n", i);
    fclose(stream);
    FILE *in = fmemopen(bytes, length, "r");
    char *line = NULL;
    size_t capacity = 0;
    int lines = 0;
    while (getline(&line, &capacity, in) > 0) ++lines;
    check(lines == 5000, "getline");
    fclose(in);
    free(line);
    free(bytes);
    (void)size;
}

// Freed memory holds bytes that look like headers of every kind.
static void header_like_contents(size_t size) {
    for (int byte = 0; byte < 256; ++byte) {
        unsigned char *blocks[64];
        for (int i = 0; i < 64; ++i) {
            blocks[i] = malloc(size);
            memset(blocks[i], byte, malloc_usable_size(blocks[i]));
        }
        for (int i = 0; i < 64; ++i) {
            check_bytes(blocks[i], size, (unsigned char)byte, "contents of a block");
            free(blocks[i]);
        }
    }
}

// Page-aligned block addresses come up by themselves among many small ones: the cold check must not mind.
static void page_aligned_by_chance(size_t size) {
    enum { kBlocks = 40000 };
    char **blocks = malloc(kBlocks * sizeof *blocks);
    for (int i = 0; i < kBlocks; ++i) {
        blocks[i] = malloc(size);
        blocks[i][0] = 1;
    }
    for (int i = kBlocks - 1; i >= 0; --i) free(blocks[i]);
    free(blocks);
}

static void lifo_fifo_random(size_t size) {
    enum { kBlocks = 3000 };
    static unsigned char *blocks[kBlocks];
    uint64_t state = 88172645463325252u;
    for (int order = 0; order < 3; ++order) {
        for (int i = 0; i < kBlocks; ++i) {
            blocks[i] = malloc(size + (size_t)(i % 50));
            memset(blocks[i], i & 0xFF, size);
        }
        for (int i = 0; i < kBlocks; ++i) {
            int chosen = order == 0 ? i : kBlocks - 1 - i;
            if (order == 2) {
                chosen = (int)(next_random(&state) % kBlocks);
                while (blocks[chosen] == NULL) chosen = (chosen + 1) % kBlocks;
            }
            check_bytes(blocks[chosen], size, (unsigned char)chosen, "contents of a block");
            free(blocks[chosen]);
            blocks[chosen] = NULL;
        }
    }
}

static void fork_and_free(size_t size) {
    unsigned char *blocks[200];
    for (int i = 0; i < 200; ++i) {
        blocks[i] = malloc(size + (size_t)i);
        memset(blocks[i], i, size);
    }
    for (int round = 0; round < 5; ++round) {
        const pid_t child = fork();
        if (child == 0) {
            for (int i = 0; i < 200; ++i) {
                check_bytes(blocks[i], size, (unsigned char)i, "contents in the child");
                free(blocks[i]);
            }
            survive(5);
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        check(status == 0, "the child ended well");
    }
    for (int i = 0; i < 200; ++i) free(blocks[i]);
}

static void vfork_and_exec(size_t size) {
    char *p = malloc(size);
    for (int i = 0; i < 5; ++i) {
        const pid_t child = vfork();
        if (child == 0) {
            execl("/bin/true", "true", (char *)NULL);
            _exit(1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        check(status == 0, "true ended well");
    }
    free(p);
}

static void *kept_for_exit[100];

static void free_at_exit(void) {
    for (int i = 0; i < 100; ++i) free(kept_for_exit[i]);
    free(malloc(1000));
}

static void at_exit(size_t size) {
    for (int i = 0; i < 100; ++i) kept_for_exit[i] = malloc(size * (size_t)(i + 1));
    atexit(free_at_exit);
}

static void *constructed;

__attribute__((constructor(101))) static void construct_early(void) { constructed = malloc(300); }

static void early_constructor(size_t size) {
    memset(constructed, 'c', 300);
    free(constructed);
    constructed = NULL;
    (void)size;
}

__attribute__((destructor(101))) static void destruct_late(void) { free(constructed); }

static volatile int signals_left;

static void on_signal(int number) {
    (void)number;
    char buffer[64];
    memset(buffer, 'b', sizeof buffer);
    if (signals_left > 0) --signals_left;
}

// Signals interrupt the allocator everywhere; the handler itself keeps to what POSIX allows.
static void signals_while_allocating(size_t size) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGPROF, &action, NULL);
    signals_left = 20;
    const struct itimerval fast = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_PROF, &fast, NULL);
    for (int i = 0; i < 200 && signals_left > 0; ++i) survive((uint64_t)i);
    const struct itimerval off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_PROF, &off, NULL);
    (void)size;
}

// The handler is called synchronously, so it may allocate.
static void *from_handler;

static void allocate_in_handler(int number) {
    (void)number;
    free(from_handler);
    from_handler = malloc(500);
    memset(from_handler, 'h', 500);
}

static void raise_and_allocate(size_t size) {
    char alternate[65536];
    const stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = allocate_in_handler, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    for (int i = 0; i < 100; ++i) {
        char *p = malloc(size);
        raise(SIGUSR1);
        free(p);
    }
    check_bytes(from_handler, 500, 'h', "a block of the handler's");
    free(from_handler);
    const stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
}

static void address_space_limit(size_t size) {
    struct rlimit old;
    getrlimit(RLIMIT_AS, &old);
    const struct rlimit tight = {(rlim_t)1 << 30, old.rlim_max};
    setrlimit(RLIMIT_AS, &tight);
    void *big = malloc((size_t)opaque((void *)((size_t)8 << 30)));
    check(big == NULL && errno == ENOMEM, "ENOMEM under RLIMIT_AS");
    unsigned char *blocks[64];
    int made = 0;
    while (made < 64 && (blocks[made] = malloc((size_t)64 << 20)) != NULL) ++made;
    check(made < 64, "ENOMEM under RLIMIT_AS");
    for (int i = 0; i < made; ++i) free(blocks[i]);
    setrlimit(RLIMIT_AS, &old);
    unsigned char *p = malloc(size);
    check(p != NULL, "malloc after ENOMEM");
    free(p);
}

static void very_large(size_t size) {
    unsigned char *p = malloc((size_t)300 << 20);
    check(p != NULL, "malloc of 300 MiB");
    p[0] = 1;
    p[((size_t)300 << 20) - 1] = 2;
    p = realloc(p, (size_t)500 << 20);
    check(p != NULL && p[0] == 1 && p[((size_t)300 << 20) - 1] == 2, "contents after realloc");
    p = realloc(p, (size_t)2 << 20);
    check(p != NULL && p[0] == 1, "contents after realloc");
    p = realloc(p, 100);
    check(p != NULL && p[0] == 1, "contents after realloc");
    free(p);
    (void)size;
}

static void large_neighbours(size_t size) {
    enum { kBlocks = 60 };
    unsigned char *blocks[kBlocks];
    for (int i = 0; i < kBlocks; ++i) {
        blocks[i] = malloc(size + (size_t)i * 1000);
        memset(blocks[i], i, malloc_usable_size(blocks[i]));
    }
    for (int i = 0; i < kBlocks; ++i) {
        const int chosen = i * 7 % kBlocks;
        check_bytes(blocks[chosen], size, (unsigned char)chosen, "contents of a block");
        free(blocks[chosen]);
    }
}

static void trim_and_info(size_t size) {
    void *p = malloc(size);
    malloc_trim(0);
    const struct mallinfo2 info = mallinfo2();
    check(info.uordblks + info.hblkhd >= size, "mallinfo2");  // by itself on pages of its own, it counts as mapped
    free(p);
    malloc_trim(0);
}

static void plugin(size_t size) {
    for (int round = 0; round < 3; ++round) {
        void *library = dlopen(HAKMEM_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
        check(library != NULL, "dlopen");
        void *(*make)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "plugin_make");
        void (*drop)(void *) = (void (*)(void *))(uintptr_t)dlsym(library, "plugin_drop");
        check(make != NULL && drop != NULL, "dlsym");
        void *theirs = make(size);
        void *ours = malloc(size);
        free(theirs);
        drop(ours);
        check(dlclose(library) == 0, "dlclose");
    }
}

// A second copy of the C library, with its own allocator: its blocks are not ours, and stay its own.
static void second_namespace(size_t size) {
    void *library = dlmopen(LM_ID_NEWLM, HAKMEM_TEST_PLUGIN, RTLD_NOW | RTLD_LOCAL);
    check(library != NULL, "dlmopen");
    void *(*make)(size_t) = (void *(*)(size_t))(uintptr_t)dlsym(library, "plugin_make");
    void (*drop)(void *) = (void (*)(void *))(uintptr_t)dlsym(library, "plugin_drop");
    check(make != NULL && drop != NULL, "dlsym");
    for (int i = 0; i < 100; ++i) drop(make(size + (size_t)i));
}

static const struct bug_case cases[] = {
    {"zero_sizes", zero_sizes},
    {"free_null", free_null},
    {"realloc_null", realloc_null},
    {"realloc_to_zero", realloc_to_zero},
    {"realloc_up_and_down", realloc_up_and_down},
    {"realloc_same_size", realloc_same_size},
    {"realloc_of_aligned", realloc_of_aligned},
    {"usable_bytes", usable_bytes},
    {"usable_bytes_of_aligned", usable_bytes_of_aligned},
    {"every_size", every_size},
    {"huge_alignments", huge_alignments},
    {"bad_alignments", bad_alignments},
    {"overflowing_sizes", overflowing_sizes},
    {"errno_is_kept", errno_is_kept},
    {"errno_without_memory", errno_without_memory},
    {"calloc_is_zero", calloc_is_zero},
    {"libc_blocks", libc_blocks},
    {"stdio_blocks", stdio_blocks},
    {"header_like_contents", header_like_contents},
    {"page_aligned_by_chance", page_aligned_by_chance},
    {"lifo_fifo_random", lifo_fifo_random},
    {"fork_and_free", fork_and_free},
    {"vfork_and_exec", vfork_and_exec},
    {"at_exit", at_exit},
    {"early_constructor", early_constructor},
    {"signals_while_allocating", signals_while_allocating},
    {"raise_and_allocate", raise_and_allocate},
    {"address_space_limit", address_space_limit},
    {"very_large", very_large},
    {"large_neighbours", large_neighbours},
    {"trim_and_info", trim_and_info},
    {"plugin", plugin},
    {"second_namespace", second_namespace},
};
BUG_MAIN(cases)
