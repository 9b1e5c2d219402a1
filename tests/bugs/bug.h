// What every program of the catalogue shares: `PROGRAM CASE [SIZE] [thread]` makes the bug of that name once, on a
// block of SIZE bytes, in the main thread or in a second one while the first is busy, and then shows that the heap
// still works: it allocates and frees some thousand further blocks and checks what it wrote into each.
//
// The line that makes the bug carries a mark, `// @free CASE`, where the report must point to; `@first_free`, `@alloc`
// and `@write` mark lines that higher levels name too.
#pragma once

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __cplusplus
#define BUG_UNUSED [[maybe_unused]]
#else
#define BUG_UNUSED __attribute__((unused))
#endif

struct bug_case {
    const char *name;
    void (*run)(size_t size);
};

// Hides where a pointer comes from, so that the compiler neither warns of the bug nor removes it.
BUG_UNUSED static void *opaque(const volatile void *pointer) {
    void *hidden = (void *)(uintptr_t)pointer;
    __asm__ volatile("" : "+r"(hidden));
    return hidden;
}

// Ends the program with a status that the tests tell from all others: the bug could not be set up.
BUG_UNUSED static void give_up(const char *why) {
    fprintf(stderr, "can't set the bug up: %s\n", why);
    exit(77);
}

// Two live blocks of the same size, the one right behind the other: `left` can hold `size` bytes (raised to what fills
// its slot) and then comes the header of `right`.
BUG_UNUSED static size_t neighbours(size_t size, char **left, char **right) {
    enum { kBlocks = 512 };
    char *blocks[kBlocks];
    void *probe = malloc(size);
    size = malloc_usable_size(probe);
    free(probe);
    for (int i = 0; i < kBlocks; ++i) {
        blocks[i] = (char *)malloc(size);
        memset(blocks[i], 'n', size);
    }
    // The closest pair: in one span, with nothing between.
    int best_left = -1;
    int best_right = -1;
    uintptr_t best = size + 4096;
    for (int i = 0; i < kBlocks; ++i) {
        for (int j = 0; j < kBlocks; ++j) {
            const uintptr_t distance = (uintptr_t)blocks[j] - (uintptr_t)blocks[i];
            if (i != j && distance < best) {
                best = distance;
                best_left = i;
                best_right = j;
            }
        }
    }
    if (best_left < 0) give_up("no two blocks side by side");
    *left = blocks[best_left];
    *right = blocks[best_right];
    for (int i = 0; i < kBlocks; ++i) {
        if (i != best_left && i != best_right) free(blocks[i]);
    }
    return size;
}

BUG_UNUSED static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

BUG_UNUSED static size_t random_size(uint64_t *state) {
    const uint64_t kind = next_random(state) % 100;
    if (kind < 80) return 1 + next_random(state) % 512;
    if (kind < 96) return 1 + next_random(state) % 9000;
    if (kind < 99) return 1 + next_random(state) % 100000;
    return 1 + next_random(state) % 1500000;
}

BUG_UNUSED static void check(int good, const char *what) {
    if (good) return;
    printf("broken: %s\n", what);
    fflush(stdout);
    _exit(3);
}

BUG_UNUSED static void check_bytes(const unsigned char *block, size_t size, unsigned char byte, const char *what) {
    // All equal to the first means: equal to itself moved by one.
    check(size == 0 || (block[0] == byte && memcmp(block, block + 1, size - 1) == 0), what);
}

// Some thousand blocks come and go; every byte of each is checked when it goes.
BUG_UNUSED static void survive(uint64_t seed) {
    enum { kLive = 200, kSteps = 4000 };
    unsigned char *blocks[kLive] = {0};
    size_t sizes[kLive] = {0};
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (int step = 0; step < kSteps; ++step) {
        const int i = (int)(next_random(&state) % kLive);
        const unsigned char byte = (unsigned char)(i * 7 + 1);
        const size_t size = random_size(&state);
        if (blocks[i] != NULL && step % 16 == 0) {
            unsigned char *moved = (unsigned char *)realloc(blocks[i], size);
            check(moved != NULL, "realloc");
            check_bytes(moved, size < sizes[i] ? size : sizes[i], byte, "contents after realloc");
            blocks[i] = moved;
        } else {
            if (blocks[i] != NULL) check_bytes(blocks[i], sizes[i], byte, "contents of a block");
            free(blocks[i]);
            blocks[i] = (unsigned char *)(step % 5 == 0 ? calloc(1, size) : malloc(size));
            check(blocks[i] != NULL, "malloc");
            check(((uintptr_t)blocks[i] & 15) == 0, "alignment");
            if (step % 5 == 0) check_bytes(blocks[i], size, 0, "zeros of calloc");
        }
        memset(blocks[i], byte, size);
        sizes[i] = size;
    }
    for (int i = 0; i < kLive; ++i) {
        if (blocks[i] != NULL) check_bytes(blocks[i], sizes[i], (unsigned char)(i * 7 + 1), "contents of a block");
        free(blocks[i]);
    }
}

struct bug_job {
    const struct bug_case *chosen;
    size_t size;
};

BUG_UNUSED static void *run_job(void *argument) {
    const struct bug_job *job = (const struct bug_job *)argument;
    job->chosen->run(job->size);
    survive(2);
    return NULL;
}

// Runs `body` in a second thread to its end.
BUG_UNUSED static void in_thread(void *(*body)(void *), void *argument) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, body, argument) == 0, "pthread_create");
    pthread_join(thread, NULL);
}

BUG_UNUSED static void *free_it(void *pointer) {
    free(pointer);  // @free other_thread threads_overflow
    return NULL;
}

BUG_UNUSED static int bug_main(int argc, char **argv, const struct bug_case *cases, size_t count) {
    for (size_t i = 0; argc > 1 && i < count; ++i) {
        if (strcmp(cases[i].name, argv[1]) != 0) continue;
        struct bug_job job = {&cases[i], argc > 2 ? strtoull(argv[2], NULL, 0) : 100};
        if (argc > 3 && strcmp(argv[3], "thread") == 0) {
            pthread_t thread;
            check(pthread_create(&thread, NULL, run_job, &job) == 0, "pthread_create");
            survive(1);
            pthread_join(thread, NULL);
        } else {
            survive(1);
            run_job(&job);
        }
        printf("%s: every block intact\n", argv[1]);
        return 0;
    }
    fprintf(stderr, "use: %s CASE [SIZE] [thread]; cases:", argv[0]);
    for (size_t i = 0; i < count; ++i) fprintf(stderr, " %s", cases[i].name);
    fputc('\n', stderr);
    return 2;
}

#define BUG_MAIN(cases) \
    int main(int argc, char **argv) { return bug_main(argc, argv, cases, sizeof(cases) / sizeof *(cases)); }
