// The 16-byte header in front of a large block is overwritten.
#include "bug.h"

static void flip_one_bit(size_t size) {
    char *p = malloc(size);
    memset(p, 'l', size);
    ((char *)opaque(p))[-12] ^= 1;  // @write flip_one_bit
    free(p);                        // @free flip_one_bit
}

// As a memset that starts too early leaves it: all but the last byte, which says that this is a 16-byte header.
static void all_but_marker(size_t size) {
    char *p = malloc(size);
    memset((char *)opaque(p) - 16, 'A', 15);  // @write all_but_marker
    free(p);                                  // @free all_but_marker
}

static void zeroed(size_t size) {
    char *p = malloc(size);
    memset((char *)opaque(p) - 16, 0, 16);  // @write zeroed
    free(p);                                // @free zeroed
}

static void last_byte(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[-1] = 0;  // @write last_byte
    free(p);                      // @free last_byte
}

static void size_field_grown(size_t size) {
    char *p = malloc(size);
    for (int i = -15; i < -1; ++i) ((char *)opaque(p))[i] += 1;  // @write size_field_grown
    free(p);                                                     // @free size_field_grown
}

static void found_by_realloc(size_t size) {
    char *p = malloc(size);
    memset(p, 'l', size);
    ((char *)opaque(p))[-12] ^= 1;       // @write found_by_realloc
    char *moved = realloc(p, size * 3);  // @free found_by_realloc
    if (moved != NULL) {
        check_bytes((unsigned char *)moved, size, 'l', "contents after realloc");
        free(moved);
    }
}

static void of_aligned(size_t size) {
    void *p = NULL;
    check(posix_memalign(&p, 4096, size) == 0, "posix_memalign");
    memset((char *)opaque(p) - 16, 'A', 15);  // @write of_aligned
    free(p);                                  // @free of_aligned
}

// With the last byte gone too, nothing says any more that a block starts here.
static void of_aligned_whole(size_t size) {
    void *p = NULL;
    check(posix_memalign(&p, 4096, size) == 0, "posix_memalign");
    memset((char *)opaque(p) - 16, 'A', 16);  // @write of_aligned_whole
    free(p);                                  // @free of_aligned_whole
}

static const struct bug_case cases[] = {
    {"flip_one_bit", flip_one_bit}, {"all_but_marker", all_but_marker},     {"zeroed", zeroed},
    {"last_byte", last_byte},       {"size_field_grown", size_field_grown}, {"found_by_realloc", found_by_realloc},
    {"of_aligned", of_aligned},     {"of_aligned_whole", of_aligned_whole},
};
BUG_MAIN(cases)
