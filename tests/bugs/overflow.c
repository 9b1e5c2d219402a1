// Writes past a block's end (or before its start) that break the header of the block to the right.
#include "bug.h"

static void fill_string(char *string, size_t length) {
    memset(string, 's', length);
    string[length] = '\0';
}

// The classic: the string fits exactly, its terminator does not.
static void strcpy_nul(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    char *string = malloc(size + 1);
    fill_string(string, size);
    strcpy(opaque(left), string);  // @write strcpy_nul
    free(right);                   // @free strcpy_nul
    free(left);                    // @left strcpy_nul
    free(string);
}

static void bytes16(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    memset((char *)opaque(left) + size, 'A', 16);  // @write bytes16
    free(right);                                   // @free bytes16
    free(left);                                    // @left bytes16
}

static void off_by_one_loop(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    for (size_t i = 0; i <= size; ++i) left[i] = (char)i;  // @write off_by_one_loop
    left[size] = 0x7F;
    free(right);  // @free off_by_one_loop
    free(left);   // @left off_by_one_loop
}

static void all_ones(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    memset(opaque(left), 0xFF, size + 1);  // @write all_ones
    free(left);                            // @left all_ones
    free(right);                           // @free all_ones
}

// A little-endian pointer written one element past the end.
static void pointer_past_end(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    void *pointer = left;
    memcpy((char *)opaque(left) + size - 7, &pointer, sizeof pointer);  // @write pointer_past_end
    free(right);                                                        // @free pointer_past_end
    free(left);                                                         // @left pointer_past_end
}

// The left block is freed already when it is written past its end.
static void from_freed_left(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    free(left);                          // @first_free from_freed_left
    ((char *)opaque(left))[size] = 'x';  // @write from_freed_left
    free(right);                         // @free from_freed_left
}

static void underflow(size_t size) {
    char *p = malloc(size);
    ((char *)opaque(p))[-1] = 0;  // @write underflow
    free(p);                      // @free underflow
}

static void found_by_realloc(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    memset(right, 'r', size);
    ((char *)opaque(left))[size] = 0;                // @write found_by_realloc
    char *moved = realloc(right, size * 2 + 10000);  // @free found_by_realloc
    check_bytes((unsigned char *)moved, size, 'r', "contents after realloc");
    free(moved);
    free(left);  // @left found_by_realloc
}

static void *write_nul(void *end) {
    *(char *)end = 0;  // @write threads_overflow
    return NULL;
}

// One thread writes, another frees, a third owns.
static void threads_overflow(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    in_thread(write_nul, (char *)opaque(left) + size);
    in_thread(free_it, right);
    free(left);  // @left threads_overflow
}

// The byte is changed into another valid header: only metadata can tell.
static void into_other_class(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    unsigned char *header = (unsigned char *)opaque(right) - 1;
    *header = (unsigned char)(*header ^ 1);  // @write into_other_class
    free(right);                             // @free into_other_class
    free(left);
}

// The byte is changed into the free form of its own class: looks like a double free, is a live block.
static void into_free_form(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    unsigned char *header = (unsigned char *)opaque(right) - 1;
    *header = (unsigned char)(0x80 | (*header & 0x1F));  // @write into_free_form
    free(right);                                         // @free into_free_form
    free(left);
}

// Nobody frees the broken block: only an audit sees it.
static void never_freed(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    ((char *)opaque(left))[size] = 0;  // @write never_freed
}

// The right block is free when its header is hit: nobody's free trips over it, and its next allocation covers it up.
static void into_freed_right(size_t size) {
    char *left, *right;
    size = neighbours(size, &left, &right);
    free(right);
    ((char *)opaque(left))[size] = 0;  // @write into_freed_right
    for (int i = 0; i < 2000; ++i) free(malloc(size));
    free(left);
}

// The same with blocks that come one behind the other, so that the right one is not there yet when the left is filled.
static void into_fresh_right(size_t size) {
    char *before = malloc(size);
    char *last = malloc(size);
    size = malloc_usable_size(last);
    size_t distance = 0;
    for (int i = 0; i < 4000; ++i) {
        char *next = malloc(size);
        const size_t step = (size_t)(next - last);
        if (step < 4096 + size && step == distance && (size_t)(last - before) == distance) {
            char *end = (char *)opaque(next) + size;
            const char was = *end;
            *end = 0;  // @write into_fresh_right
            if (malloc(size) == next + distance) return;
            *end = was;  // the next block came from elsewhere: nobody has seen it
        }
        distance = step;
        before = last;
        last = next;
    }
    give_up("no blocks one behind the other");
}

static const struct bug_case cases[] = {
    {"strcpy_nul", strcpy_nul},
    {"bytes16", bytes16},
    {"off_by_one_loop", off_by_one_loop},
    {"all_ones", all_ones},
    {"pointer_past_end", pointer_past_end},
    {"from_freed_left", from_freed_left},
    {"underflow", underflow},
    {"found_by_realloc", found_by_realloc},
    {"threads_overflow", threads_overflow},
    {"into_other_class", into_other_class},
    {"into_free_form", into_free_form},
    {"never_freed", never_freed},
    {"into_freed_right", into_freed_right},
    {"into_fresh_right", into_fresh_right},
};
BUG_MAIN(cases)
