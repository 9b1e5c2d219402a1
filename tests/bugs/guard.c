// Bugs that leave every header alone: only level `guard` can see them. What a bad access is made by bears `@write`,
// also where it only reads.
#include "bug.h"

static volatile char sink;

static void redzone_one_byte(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    ((char *)opaque(p))[size] = 'x';  // @write redzone_one_byte
    free(p);                          // @free redzone_one_byte
}

static void redzone_nul(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    ((char *)opaque(p))[size] = 0;  // @write redzone_nul
    free(p);                        // @free redzone_nul
}

static void redzone_of_calloc(size_t size) {
    char *p = calloc(1, size);
    ((char *)opaque(p))[size] = 'x';  // @write redzone_of_calloc
    free(p);                          // @free redzone_of_calloc
}

static void redzone_of_realloc(size_t size) {
    char *p = realloc(malloc(size / 2), size);
    ((char *)opaque(p))[size] = 'x';  // @write redzone_of_realloc
    free(p);                          // @free redzone_of_realloc
}

static void redzone_found_by_realloc(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[size] = 'x';       // @write redzone_found_by_realloc
    char *q = realloc(p, size * 4 + 400);  // @free redzone_found_by_realloc
    free(q);
}

// What grows or shrinks in its place has its slack elsewhere from then on.
static void redzone_of_grown(size_t size) {
    char *p = realloc(malloc(size), size + size / 4);
    ((char *)opaque(p))[size + size / 4] = 'x';  // @write redzone_of_grown
    free(p);                                     // @free redzone_of_grown
}

static void redzone_of_shrunk(size_t size) {
    char *p = realloc(malloc(size), size - size / 4);
    ((char *)opaque(p))[size - size / 8] = 'x';  // @write redzone_of_shrunk
    free(p);                                     // @free redzone_of_shrunk
}

static void redzone_found_by_growth(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[size + 1] = 'x';    // @write redzone_found_by_growth
    char *q = realloc(p, size + size / 4);  // @free redzone_found_by_growth
    free(q);
}

static void redzone_of_aligned(size_t size) {
    char *p = memalign(128, size);
    ((char *)opaque(p))[size] = 'x';  // @write redzone_of_aligned
    free(p);                          // @free redzone_of_aligned
}

static void redzone_long(size_t size) {
    char *p = malloc(size);
    memset((char *)opaque(p) + size, 'x', 50);  // @write redzone_long
    free(p);                                    // @free redzone_long
}

static void redzone_never_freed(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[size] = 'x';  // @write redzone_never_freed
}

static void write_after_free(size_t size) {
    char *p = malloc(size);
    memset(p, 'w', size);
    free(p);                              // @first_free write_after_free
    ((char *)opaque(p))[size / 2] = 'x';  // @write write_after_free
}

static void write_after_free_first_bytes(size_t size) {
    char *p = malloc(size);
    free(p);                                      // @first_free write_after_free_first_bytes
    memset(opaque(p), 'x', size < 8 ? size : 8);  // @write write_after_free_first_bytes
}

static void write_after_free_struct(size_t size) {
    struct node {
        struct node *next;
        long value;
        char bytes[48];
    } *node = malloc(sizeof *node);
    node->value = 1;
    free(node);                                 // @first_free write_after_free_struct
    ((struct node *)opaque(node))->value += 1;  // @write write_after_free_struct
    (void)size;
}

static void write_after_free_in_the_middle(size_t size) {
    char *p = malloc(size);
    free(p);  // @first_free write_after_free_in_the_middle
    memset((char *)opaque(p) + size / 2, 0, 5000);
}

static void write_after_realloc(size_t size) {
    char *p = malloc(size);
    char *q = realloc(opaque(p), size * 8 + 4000);  // @first_free write_after_realloc
    if (q == p) give_up("realloc did not move the block");
    ((char *)opaque(p))[size / 2] = 'x';  // @write write_after_realloc
    free(q);
}

static void *write_it(void *pointer) {
    *(char *)pointer = 'x';  // @write write_after_free_threads
    return NULL;
}

static void write_after_free_threads(size_t size) {
    char *p = malloc(size);
    free(p);  // @first_free write_after_free_threads
    in_thread(write_it, (char *)opaque(p) + size / 2);
}

static void read_past_end(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    sink = ((char *)opaque(p))[size + 15];  // @write read_past_end
    free(p);
}

// A string without its end: what is behind the block is read until a zero byte comes.
static void read_by_strlen(size_t size) {
    char *p = malloc(size);
    memset(p, 's', size);
    sink = (char)strlen(opaque(p));  // @write read_by_strlen
    free(p);
}

static void read_zero_bytes(size_t size) {
    char *p = malloc(size);
    sink = *(char *)opaque(p);  // @write read_zero_bytes
    free(p);
}

static void read_zero_bytes_of_calloc(size_t size) {
    char *p = calloc(size, 8);
    sink = *(char *)opaque(p);  // @write read_zero_bytes_of_calloc
    free(p);
}

static void read_before_start(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    sink = ((char *)opaque(p))[-4096];  // @write read_before_start
    free(p);
}

static void read_after_free(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    free(p);                               // @first_free read_after_free
    sink = ((char *)opaque(p))[size / 2];  // @write read_after_free
}

// Long after: thousands of blocks have come and gone.
static void read_after_free_late(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    free(p);  // @first_free read_after_free_late
    survive(3);
    sink = ((char *)opaque(p))[size / 2];  // @write read_after_free_late
}

static void read_after_realloc(size_t size) {
    char *p = malloc(size);
    memset(p, 'r', size);
    char *q = realloc(opaque(p), size * 2);  // @first_free read_after_realloc
    if (q == p) give_up("realloc did not move the block");
    sink = ((char *)opaque(p))[size / 2];  // @write read_after_realloc
    free(q);
}

// A site's second block stands against the front of its page.
static void read_before_second(size_t size) {
    char *blocks[2];
    for (int i = 0; i < 2; ++i) blocks[i] = malloc(size);
    sink = ((char *)opaque(blocks[1]))[-1];  // @write read_before_second
    for (int i = 0; i < 2; ++i) free(blocks[i]);
}

static void read_after_free_of_aligned(size_t size) {
    char *p = memalign(64, size);
    memset(p, 'r', size);
    free(p);                               // @first_free read_after_free_of_aligned
    sink = ((char *)opaque(p))[size / 2];  // @write read_after_free_of_aligned
}

static void copy_past_end(size_t size) {
    char *p = malloc(size), *copy = malloc(2 * size);
    memset(p, 'r', size);
    for (size_t i = 0; i < size + 64; ++i) copy[i] = ((char *)opaque(p))[i];  // @write copy_past_end
    free(p);
    free(copy);
}

// Over several pages: it is one bug.
static void copy_far_past_end(size_t size) {
    char *p = malloc(size), *copy = malloc(size + 3 * 4096);
    memset(p, 'r', size);
    for (size_t i = 0; i < size + 3 * 4096 - 16; ++i) copy[i] = ((char *)opaque(p))[i];  // @write copy_far_past_end
    free(p);
    free(copy);
}

static void write_far_past_end(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[size + 4096] = 'x';  // @write write_far_past_end
    free(p);
}

// Alone on its page, what lies before the block is under watch as well.
static void write_before_start(size_t size) {
    char *p = malloc(size);
    memset((char *)opaque(p) - 8, 'x', 8);  // @write write_before_start
    free(p);                                // @free write_before_start
}

static void write_before_start_never_freed(size_t size) {
    char *p = malloc(size);
    memset((char *)opaque(p) - 8, 'x', 8);  // @write write_before_start_never_freed
}

static void write_far_before_start(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[-64] = 'x';  // @write write_far_before_start
    free(p);                         // @free write_far_before_start
}

static void write_far_before_start_never_freed(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[-64] = 'x';  // @write write_far_before_start_never_freed
}

static void write_before_aligned_never_freed(size_t size) {
    char *p = memalign(128, size);
    memset((char *)opaque(p) - 8, 'x', 8);  // @write write_before_aligned_never_freed
}

static const struct bug_case cases[] = {
    {"redzone_one_byte", redzone_one_byte},
    {"redzone_nul", redzone_nul},
    {"redzone_of_calloc", redzone_of_calloc},
    {"redzone_of_realloc", redzone_of_realloc},
    {"redzone_found_by_realloc", redzone_found_by_realloc},
    {"redzone_of_grown", redzone_of_grown},
    {"redzone_of_shrunk", redzone_of_shrunk},
    {"redzone_found_by_growth", redzone_found_by_growth},
    {"redzone_of_aligned", redzone_of_aligned},
    {"redzone_long", redzone_long},
    {"redzone_never_freed", redzone_never_freed},
    {"write_after_free", write_after_free},
    {"write_after_free_first_bytes", write_after_free_first_bytes},
    {"write_after_free_struct", write_after_free_struct},
    {"write_after_free_in_the_middle", write_after_free_in_the_middle},
    {"write_after_realloc", write_after_realloc},
    {"write_after_free_threads", write_after_free_threads},
    {"read_past_end", read_past_end},
    {"read_by_strlen", read_by_strlen},
    {"read_zero_bytes", read_zero_bytes},
    {"read_zero_bytes_of_calloc", read_zero_bytes_of_calloc},
    {"read_before_start", read_before_start},
    {"read_before_second", read_before_second},
    {"read_after_free", read_after_free},
    {"read_after_free_late", read_after_free_late},
    {"read_after_realloc", read_after_realloc},
    {"read_after_free_of_aligned", read_after_free_of_aligned},
    {"copy_past_end", copy_past_end},
    {"copy_far_past_end", copy_far_past_end},
    {"write_far_past_end", write_far_past_end},
    {"write_before_start", write_before_start},
    {"write_before_start_never_freed", write_before_start_never_freed},
    {"write_far_before_start", write_far_before_start},
    {"write_far_before_start_never_freed", write_far_before_start_never_freed},
    {"write_before_aligned_never_freed", write_before_aligned_never_freed},
};
BUG_MAIN(cases)
