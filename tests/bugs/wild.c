// Pointers that no allocator has handed out are freed.
#include <sys/mman.h>

#include "bug.h"

extern char **environ;

static char in_data[64] = "initialised";
static char in_bss[64];
static _Alignas(4096) char page_in_bss[8192];
static const char in_rodata[64] = "a constant";
static _Thread_local char in_tls[64];

static void stack_array(size_t size) {
    char local[64];
    memset(local, 's', sizeof local);
    free(opaque(local));  // @free stack_array
    check_bytes((unsigned char *)local, sizeof local, 's', "the stack");
    (void)size;
}

static void stack_middle(size_t size) {
    char local[256];
    memset(local, 's', sizeof local);
    free((char *)opaque(local) + 100);  // @free stack_middle
    (void)size;
}

static void stack_page(size_t size) {
    char local[3 * 4096];
    memset(local, 's', sizeof local);
    char *page = (char *)(((uintptr_t)local + 4095) & ~(uintptr_t)4095);
    free(opaque(page));  // @free stack_page
    (void)size;
}

// A byte that looks like a live header stands before the address.
static void stack_forged_header(size_t size) {
    _Alignas(16) char local[256];
    memset(local, 0xA3, sizeof local);
    free((char *)opaque(local) + 64);  // @free stack_forged_header
    check_bytes((unsigned char *)local, sizeof local, 0xA3, "the stack");
    (void)size;
}

static void environment(size_t size) {
    free(opaque(environ[0]));  // @free environment
    (void)size;
}

static void static_data(size_t size) {
    free(opaque(in_data));  // @free static_data
    check(strcmp(in_data, "initialised") == 0, "a static");
    (void)size;
}

static void static_bss(size_t size) {
    free(opaque(in_bss));  // @free static_bss
    check_bytes((unsigned char *)in_bss, sizeof in_bss, 0, "a static");
    (void)size;
}

static void static_page(size_t size) {
    free(opaque(page_in_bss));  // @free static_page
    (void)size;
}

static void string_literal(size_t size) {
    free(opaque(in_rodata));  // @free string_literal
    (void)size;
}

static void function(size_t size) {
    free(opaque((void *)(uintptr_t)&function));  // @free function
    (void)size;
}

static void thread_local_variable(size_t size) {
    memset(in_tls, 't', sizeof in_tls);
    free(opaque(in_tls));  // @free thread_local_variable
    check_bytes((unsigned char *)in_tls, sizeof in_tls, 't', "a thread-local");
    (void)size;
}

static char *map(size_t bytes, int protection) {
    void *address = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(address != MAP_FAILED, "mmap");
    return (char *)address;
}

static void mapping_start(size_t size) {
    char *address = map(4 * 4096, PROT_READ | PROT_WRITE);
    free(opaque(address));  // @free mapping_start
    address[0] = 1;
    munmap(address, 4 * 4096);
    (void)size;
}

static void mapping_middle(size_t size) {
    char *address = map(4 * 4096, PROT_READ | PROT_WRITE);
    free((char *)opaque(address) + 4096 + 48);  // @free mapping_middle
    address[0] = 1;
    munmap(address, 4 * 4096);
    (void)size;
}

static void mapping_second_page(size_t size) {
    char *address = map(4 * 4096, PROT_READ | PROT_WRITE);
    free((char *)opaque(address) + 8192);  // @free mapping_second_page
    munmap(address, 4 * 4096);
    (void)size;
}

// A page that can't be read, behind one that can't either.
static void no_access_page(size_t size) {
    char *address = map(4 * 4096, PROT_NONE);
    free((char *)opaque(address) + 4096);  // @free no_access_page
    munmap(address, 4 * 4096);
    (void)size;
}

static void no_access_middle(size_t size) {
    char *address = map(4 * 4096, PROT_NONE);
    free((char *)opaque(address) + 4096 + 48);  // @free no_access_middle
    munmap(address, 4 * 4096);
    (void)size;
}

// A hole between two mappings that stay, so that nothing else moves in.
static char *unmapped_hole(void) {
    char *address = map(4 * 4096, PROT_READ | PROT_WRITE);
    munmap(address + 4096, 2 * 4096);
    return address;
}

static void unmapped_page(size_t size) {
    char *address = unmapped_hole();
    free((char *)opaque(address) + 8192);  // @free unmapped_page
    (void)size;
}

// The page before is mapped, so its last byte can be read as if it were a header.
static void unmapped_behind_mapped(size_t size) {
    char *address = unmapped_hole();
    free((char *)opaque(address) + 4096);  // @free unmapped_behind_mapped
    (void)size;
}

static void unmapped_middle(size_t size) {
    char *address = unmapped_hole();
    free((char *)opaque(address) + 8192 + 48);  // @free unmapped_middle
    (void)size;
}

static void small_integer(size_t size) {
    free(opaque((void *)(uintptr_t)42));  // @free small_integer
    (void)size;
}

static void first_page(size_t size) {
    free(opaque((void *)(uintptr_t)4096));  // @free first_page
    (void)size;
}

static void not_canonical(size_t size) {
    free(opaque((void *)(uintptr_t)0xDEADBEEFDEADBEE0u));  // @free not_canonical
    (void)size;
}

static void not_canonical_page(size_t size) {
    free(opaque((void *)(uintptr_t)0xDEADBEEFDEADB000u));  // @free not_canonical_page
    (void)size;
}

static void minus_one(size_t size) {
    free(opaque((void *)UINTPTR_MAX));  // @free minus_one
    (void)size;
}

static void by_realloc(size_t size) {
    char *q = realloc(opaque(in_data), size);  // @free by_realloc
    check(strcmp(in_data, "initialised") == 0, "a static");
    if (q != NULL && q != in_data) free(q);
}

static void *free_local(void *argument) {
    (void)argument;
    char local[64] = "of a second thread";
    free(opaque(local));  // @free thread_stack
    return NULL;
}

static void thread_stack(size_t size) {
    in_thread(free_local, NULL);
    (void)size;
}

static const struct bug_case cases[] = {
    {"stack_array", stack_array},
    {"stack_middle", stack_middle},
    {"stack_page", stack_page},
    {"stack_forged_header", stack_forged_header},
    {"environment", environment},
    {"static_data", static_data},
    {"static_bss", static_bss},
    {"static_page", static_page},
    {"string_literal", string_literal},
    {"function", function},
    {"thread_local_variable", thread_local_variable},
    {"mapping_start", mapping_start},
    {"mapping_middle", mapping_middle},
    {"mapping_second_page", mapping_second_page},
    {"no_access_page", no_access_page},
    {"no_access_middle", no_access_middle},
    {"unmapped_page", unmapped_page},
    {"unmapped_behind_mapped", unmapped_behind_mapped},
    {"unmapped_middle", unmapped_middle},
    {"small_integer", small_integer},
    {"first_page", first_page},
    {"not_canonical", not_canonical},
    {"not_canonical_page", not_canonical_page},
    {"minus_one", minus_one},
    {"by_realloc", by_realloc},
    {"thread_stack", thread_stack},
};
BUG_MAIN(cases)
