// Bugs in programs that end soon after: no further allocation and no free trips over what they leave behind, so they
// show at once or in the last look at exit. Some are the shapes in which attacks and test suites of other allocators
// come.
#include <malloc.h>
#include <sys/mman.h>

#include "bug.h"

static void finish(const char *name) { printf("%s: every block intact\n", name); }

// ---- written past the end, and nobody frees ----

static void overflow_and_exit(size_t size) {
    char *p = malloc(size);
    memset(opaque(p), 'o', malloc_usable_size(p) + 1);  // @write overflow_and_exit
}

static void word_past_end(size_t size) {
    char *p = malloc(size);
    *(uint64_t *)((char *)opaque(p) + malloc_usable_size(p) - 7) = 0;  // @write word_past_end
    free(p);
}

static void long_overflow(size_t size) {
    char *p = malloc(size);
    memset(opaque(p), 'L', 2 * malloc_usable_size(p));  // @write long_overflow
    free(p);                                            // @free long_overflow
}

static void byte_before_start(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[-1] = 'b';  // @write byte_before_start
}

static void run_into_next(size_t size) {
    enum { kBlocks = 8 };
    char *blocks[kBlocks];
    for (int i = 0; i < kBlocks; ++i) blocks[i] = malloc(size);
    for (int i = 0; i + 1 < kBlocks; ++i) {
        const size_t usable = malloc_usable_size(blocks[i]);
        for (int j = 0; j < kBlocks; ++j) {
            if (blocks[j] != blocks[i] + usable + 16) continue;
            memset((char *)opaque(blocks[i]) + usable, 'r', 16);  // @write run_into_next
            return;
        }
    }
    give_up("no two blocks side by side");
}

// The terminator lands on the low bytes of what other allocators keep there.
static void poison_null_byte(size_t size) {
    char *a = malloc(size);
    char *b = malloc(size);
    ((char *)opaque(a))[malloc_usable_size(a)] = '\0';  // @write poison_null_byte
    free(b);                                            // @free poison_null_byte
    free(a);                                            // @left poison_null_byte
}

// A fake size in front of a block, to have it freed as a larger one.
static void overlapping_chunks(size_t size) {
    char *p = malloc(size);
    ((size_t *)opaque(p))[-1] = 0x421;  // @write overlapping_chunks
    free(p);                            // @free overlapping_chunks
}

static void unsafe_unlink(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    size_t *head = (size_t *)opaque(right) - 2;
    head[0] = size;
    head[1] &= ~(size_t)1;
    head[1] = size;  // @write unsafe_unlink
    free(right);     // @free unsafe_unlink
}

// ---- freed twice ----

static void fastbin_dup(size_t size) {
    char *a = malloc(size);
    char *b = malloc(size);
    free(a);  // @first_free fastbin_dup
    free(b);
    free(opaque(a));  // @free fastbin_dup
}

static void twice_with_use_between(size_t size) {
    char *p = malloc(size);
    free(p);  // @first_free twice_with_use_between
    memset(opaque(p), 0, size < 16 ? size : 16);
    free(opaque(p));  // @free twice_with_use_between
}

static void delayed(size_t size) {
    char *p = malloc(size);
    char *q = malloc(size);
    free(p);  // @first_free delayed
    free(q);
    for (int i = 0; i < 1000; ++i) free(malloc(i % 400 + 1000));
    free(opaque(p));  // @free delayed
}

// Its pages are another block's by now.
static void of_a_part_of_another(size_t size) {
    char *p = malloc(size);
    char *q = malloc(size);
    free(p);
    free(q);
    char *whole = malloc(4 * size);
    if (!((whole < p && p < whole + 4 * size) || (whole < q && q < whole + 4 * size)))
        give_up("the pages were not used again");
    free(opaque(whole < p && p < whole + 4 * size ? p : q));  // @free of_a_part_of_another
    free(whole);
}

// ---- freed what is no block ----

struct fake {
    size_t previous;
    size_t bytes;
    char memory[64];
    size_t next_previous;
    size_t next_bytes;
};

// A chunk as glibc would have it, on the stack.
static void house_of_spirit(size_t size) {
    _Alignas(16) struct fake fake = {.bytes = 0x50 | 1, .next_bytes = 0x1001};
    free(opaque(fake.memory));  // @free house_of_spirit
    (void)size;
}

// One that would pass for hakmem's: the byte says a live block.
static void forged_on_stack(size_t size) {
    _Alignas(16) unsigned char local[256];
    memset(local, 0xA3, sizeof local);
    free((char *)opaque(local) + 64);  // @free forged_on_stack
    (void)size;
}

static void forged_in_block(size_t size) {
    unsigned char *p = malloc(size);
    memset(p, 0xA2, size);
    free((char *)opaque(p) + 32);  // @free forged_in_block
}

static void never_handed_out(size_t size) {
    char *p = malloc(size);
    free((char *)opaque(p) + (32 << 10));  // @free never_handed_out
}

static void behind_the_heap(size_t size) {
    char *p = malloc(size);
    free((char *)opaque(p) + (1 << 20));  // @free behind_the_heap
}

static void protected_page(size_t size) {
    char *p = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free((char *)opaque(p) + (size < 8192 ? 0 : 4096));  // @free protected_page
}

static void plain_page(size_t size) {
    char *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    free((char *)opaque(p) + size);  // @free plain_page
}

// ---- asked about what is no block ----

static void size_of_freed(size_t size) {
    char *p = malloc(size);
    free(p);                                                            // @first_free size_of_freed
    check(malloc_usable_size(opaque(p)) == 0, "the size of no block");  // @free size_of_freed
}

static void size_of_inner(size_t size) {
    char *p = malloc(size);
    check(malloc_usable_size((char *)opaque(p) + 16) == 0, "the size of no block");  // @free size_of_inner
    free(p);
}

static void size_of_stack(size_t size) {
    _Alignas(16) char local[64] = "no block";
    check(malloc_usable_size(opaque(local)) == 0, "the size of no block");  // @free size_of_stack
    (void)size;
}

static const struct bug_case cases[] = {
    {"overflow_and_exit", overflow_and_exit},
    {"word_past_end", word_past_end},
    {"long_overflow", long_overflow},
    {"byte_before_start", byte_before_start},
    {"run_into_next", run_into_next},
    {"poison_null_byte", poison_null_byte},
    {"overlapping_chunks", overlapping_chunks},
    {"unsafe_unlink", unsafe_unlink},
    {"fastbin_dup", fastbin_dup},
    {"twice_with_use_between", twice_with_use_between},
    {"delayed", delayed},
    {"of_a_part_of_another", of_a_part_of_another},
    {"house_of_spirit", house_of_spirit},
    {"forged_on_stack", forged_on_stack},
    {"forged_in_block", forged_in_block},
    {"never_handed_out", never_handed_out},
    {"behind_the_heap", behind_the_heap},
    {"protected_page", protected_page},
    {"plain_page", plain_page},
    {"size_of_freed", size_of_freed},
    {"size_of_inner", size_of_inner},
    {"size_of_stack", size_of_stack},
};

// Not BUG_MAIN: no block comes before or after.
int main(int argc, char **argv) {
    for (size_t i = 0; argc > 1 && i < sizeof cases / sizeof *cases; ++i) {
        if (strcmp(cases[i].name, argv[1]) != 0) continue;
        cases[i].run(argc > 2 ? strtoull(argv[2], NULL, 0) : 100);
        finish(argv[1]);
        return 0;
    }
    fprintf(stderr, "use: %s CASE [SIZE]\n", argv[0]);
    return 2;
}
