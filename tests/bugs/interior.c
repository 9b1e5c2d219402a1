// A pointer into a block, not to its start, is freed. SIZE is the block's.
#include "bug.h"

static void free_inside(size_t size, size_t offset) {
    char *p = malloc(size);
    memset(p, 'i', size);
    free((char *)opaque(p) + offset);  // @free plus1 plus8 plus16 half page_inside last_byte
    check_bytes((unsigned char *)p, size, 'i', "contents of the block");
    free(p);
}

static void plus1(size_t size) { free_inside(size, 1); }
static void plus8(size_t size) { free_inside(size, 8); }
static void plus16(size_t size) { free_inside(size, 16); }
static void half(size_t size) { free_inside(size, size / 2 / 16 * 16); }
static void last_byte(size_t size) { free_inside(size, size - 1); }

// The first page boundary inside a large block: there the header byte would lie on another page.
static void page_inside(size_t size) {
    char *p = malloc(size);
    const size_t offset = 4096 - ((uintptr_t)p & 4095);
    free(p);
    free_inside(size, offset);
}

static void by_realloc(size_t size) {
    char *p = malloc(size);
    memset(p, 'i', size);
    char *q = realloc((char *)opaque(p) + 16, size * 2);  // @free by_realloc
    check_bytes((unsigned char *)p, size, 'i', "contents of the block");
    if (q != NULL && q != p + 16) free(q);
    free(p);
}

// As plus16, but the byte before the pointer looks like a live header: only metadata can tell.
static void forged_header(size_t size) {
    char *p = malloc(size);
    memset(p, 0xA2, size);
    free((char *)opaque(p) + 16);  // @free forged_header
    check_bytes((unsigned char *)p, size, 0xA2, "contents of the block");
    free(p);
}

// The pointer was moved on while parsing, the usual way to lose a block's start.
static void advanced_cursor(size_t size) {
    char *text = malloc(size);
    memset(text, ' ', size);
    memcpy(text + size - 6, "value", 6);
    char *cursor = text;
    while (*cursor == ' ') ++cursor;
    free(opaque(cursor));  // @free advanced_cursor
    check(strcmp(cursor, "value") == 0, "contents of the block");
    free(text);
}

static void of_aligned(size_t size) {
    char *p = aligned_alloc(256, (size + 255) / 256 * 256);
    memset(p, 'i', size);
    free((char *)opaque(p) + 64);  // @free of_aligned
    check_bytes((unsigned char *)p, size, 'i', "contents of the block");
    free(p);
}

static const struct bug_case cases[] = {
    {"plus1", plus1},
    {"plus8", plus8},
    {"plus16", plus16},
    {"half", half},
    {"last_byte", last_byte},
    {"page_inside", page_inside},
    {"by_realloc", by_realloc},
    {"forged_header", forged_header},
    {"advanced_cursor", advanced_cursor},
    {"of_aligned", of_aligned},
};
BUG_MAIN(cases)
