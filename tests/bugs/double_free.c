// A block that is freed twice.
#include "bug.h"

static void immediate(size_t size) {
    char *p = malloc(size);
    memset(p, 'a', size);
    free(p);          // @first_free immediate
    free(opaque(p));  // @free immediate
}

static void of_calloc(size_t size) {
    char *p = calloc(size, 1);
    free(p);          // @first_free of_calloc
    free(opaque(p));  // @free of_calloc
}

static void after_others(size_t size) {
    char *p = malloc(size);
    char *q = malloc(size);
    char *r = malloc(size);
    free(p);  // @first_free after_others
    free(q);
    free(r);
    free(opaque(p));  // @free after_others
}

// Enough frees that the block has left the thread's cache; every second one stays, so that its span does too.
static void after_flush(size_t size) {
    enum { kBlocks = 4000 };
    char *blocks[kBlocks];
    for (int i = 0; i < kBlocks; ++i) blocks[i] = malloc(size);
    for (int i = 0; i < kBlocks; i += 2) free(blocks[i]);
    free(opaque(blocks[400]));  // @free after_flush
    for (int i = 1; i < kBlocks; i += 2) free(blocks[i]);
}

// As before, but nothing stays: spans may have gone back.
static void after_release(size_t size) {
    enum { kBlocks = 4000 };
    char *blocks[kBlocks];
    for (int i = 0; i < kBlocks; ++i) blocks[i] = malloc(size);
    for (int i = 0; i < kBlocks; ++i) free(blocks[i]);
    free(opaque(blocks[400]));  // @free after_release
}

static void after_realloc_moved(size_t size) {
    char *p = malloc(size);
    char *q = realloc(opaque(p), size * 16 + 20000);
    if (p == q) give_up("realloc did not move the block");
    free(opaque(p));  // @free after_realloc_moved
    memset(q, 'q', size * 16 + 20000);
    free(q);
}

static void after_realloc_zero(size_t size) {
    char *p = malloc(size);
    char *q = realloc(opaque(p), 0);
    if (p == q) give_up("realloc to 0 kept the block");
    free(opaque(p));  // @free after_realloc_zero
    free(q);
}

static void by_realloc(size_t size) {
    char *p = malloc(size);
    free(p);                                    // @first_free by_realloc
    char *q = realloc(opaque(p), size + 4000);  // @free by_realloc
    if (q != p) free(q);
}

static void of_aligned(size_t size) {
    char *p = aligned_alloc(64, (size + 63) / 64 * 64);
    free(p);          // @first_free of_aligned
    free(opaque(p));  // @free of_aligned
}

static void of_page_aligned(size_t size) {
    void *p = NULL;
    check(posix_memalign(&p, 4096, size) == 0, "posix_memalign");
    memset(p, 'p', size);
    free(p);          // @first_free of_page_aligned
    free(opaque(p));  // @free of_page_aligned
}

static void of_huge_aligned(size_t size) {
    char *p = memalign(1 << 20, size);
    free(p);          // @first_free of_huge_aligned
    free(opaque(p));  // @free of_huge_aligned
}

// A stale pointer frees the block's next owner; that owner's own free is the second one, unless the freed memory was
// held back from reuse.
static void stale(size_t size) {
    char *p = malloc(size);
    free(p);  // @first_free stale
    char *q = malloc(size);
    free(opaque(p));  // @stale_free stale
    free(q);          // @free stale
}

static void other_thread(size_t size) {
    char *p = malloc(size);
    free(p);  // @first_free other_thread
    in_thread(free_it, opaque(p));
}

static void from_other_thread(size_t size) {
    char *p = malloc(size);
    in_thread(free_it, p);
    free(opaque(p));  // @free from_other_thread
}

static const struct bug_case cases[] = {
    {"immediate", immediate},
    {"of_calloc", of_calloc},
    {"after_others", after_others},
    {"after_flush", after_flush},
    {"after_release", after_release},
    {"after_realloc_moved", after_realloc_moved},
    {"after_realloc_zero", after_realloc_zero},
    {"by_realloc", by_realloc},
    {"of_aligned", of_aligned},
    {"of_page_aligned", of_page_aligned},
    {"of_huge_aligned", of_huge_aligned},
    {"stale", stale},
    {"other_thread", other_thread},
    {"from_other_thread", from_other_thread},
};
BUG_MAIN(cases)
