/* Uses every function of hakmem.h and says what each answered. C and C++ (talks_to_hakmem.cpp). */
#include <hakmem.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { kBlocks = 1000, kBytes = 100 };
static void *blocks[kBlocks];

static void say(const char *what, int answer) {
    printf("%s: %d%s\n", what, answer,
           answer != -1       ? ""
           : errno == ENOSYS  ? " ENOSYS"
           : errno == ENOTSUP ? " ENOTSUP"
                              : " another errno");
}

static void count(void) {
    struct hakmem_counters before, after;
    int i;
    memset(&before, 0xFF, sizeof before);
    memset(&after, 0xFF, sizeof after);
    say("read_counters", hakmem_read_counters(&before));
    if (hakmem_library_in_use() == HAKMEM_PRODUCTION)
        printf("mapped: %d, allocations: %d\n", before.mapped_bytes > 0, (int)before.allocations);
    for (i = 0; i < kBlocks; ++i) blocks[i] = malloc(kBytes);
    if (hakmem_read_counters(&after) != 0) return;
    printf("allocations: %d\n", (int)(after.allocations - before.allocations));
    printf("live bytes for each: %d\n", (int)((after.live_bytes - before.live_bytes) / kBlocks));
    printf("mapped more than live: %d\n", after.mapped_bytes > after.live_bytes);
}

static void audit(const char *what) {
    struct hakmem_audit_result result = {0, 0, 0};
    say(what, hakmem_audit(&result));
    printf("headers: %d, corrupt: %d, complete: %d\n", result.headers > kBlocks / 2, (int)result.corrupt,
           (int)result.complete);
}

int main(void) {
    printf("library: %d\n", (int)hakmem_library_in_use());
    count();
    say("tag_thread", hakmem_tag_thread("request 42, which is long"));
    audit("audit");
    if (hakmem_library_in_use() != HAKMEM_NONE) {
        char *volatile left = (char *)blocks[kBlocks / 2];
        void *volatile twice = blocks[0];
        memset(left, 'x', malloc_usable_size(left) + 1);
        audit("audit of a hurt heap");
        audit("audit once more");
        free(twice);
        free(twice);
        say("tag_thread", hakmem_tag_thread(NULL));
        free(twice);
    }
    return 0;
}
