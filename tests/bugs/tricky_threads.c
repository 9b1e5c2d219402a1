// Correct programs that a careless allocator, or a careless diagnosis, gets wrong. More than one thread.
#include <sys/wait.h>

#include "bug.h"

enum { kBlocks = 5000 };

struct box {
    unsigned char *blocks[kBlocks];
    size_t size;
};

static void *fill_box(void *argument) {
    struct box *box = argument;
    for (int i = 0; i < kBlocks; ++i) {
        box->blocks[i] = malloc(box->size + (size_t)(i % 40));
        memset(box->blocks[i], i & 0xFF, box->size);
    }
    return NULL;
}

static void *empty_box(void *argument) {
    struct box *box = argument;
    for (int i = 0; i < kBlocks; ++i) {
        check_bytes(box->blocks[i], box->size, (unsigned char)i, "contents of a block");
        free(box->blocks[i]);
    }
    return NULL;
}

// A thread allocates and ends; another one frees.
static void freed_by_another(size_t size) {
    struct box *box = malloc(sizeof *box);
    box->size = size;
    for (int round = 0; round < 4; ++round) {
        in_thread(fill_box, box);
        in_thread(empty_box, box);
    }
    fill_box(box);
    in_thread(empty_box, box);
    in_thread(fill_box, box);
    empty_box(box);
    free(box);
}

static void *realloc_box(void *argument) {
    struct box *box = argument;
    for (int i = 0; i < kBlocks; ++i) {
        box->blocks[i] = realloc(box->blocks[i], box->size * 2 + 50);
        check_bytes(box->blocks[i], box->size, (unsigned char)i, "contents after realloc");
    }
    return NULL;
}

static void realloc_by_another(size_t size) {
    struct box *box = malloc(sizeof *box);
    box->size = size;
    in_thread(fill_box, box);
    in_thread(realloc_box, box);
    in_thread(empty_box, box);
    free(box);
}

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    unsigned char *blocks[256];
    int used;
    int closed;
    size_t size;
};

static void *produce(void *argument) {
    struct queue *queue = argument;
    for (int i = 0; i < 20000; ++i) {
        unsigned char *block = malloc(queue->size + (size_t)(i % 100));
        memset(block, 0x5A, queue->size);
        pthread_mutex_lock(&queue->lock);
        while (queue->used == 256) pthread_cond_wait(&queue->changed, &queue->lock);
        queue->blocks[queue->used++] = block;
        pthread_cond_signal(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
    }
    pthread_mutex_lock(&queue->lock);
    queue->closed = 1;
    pthread_cond_signal(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return NULL;
}

static void producer_consumer(size_t size) {
    struct queue *queue = calloc(1, sizeof *queue);
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    queue->size = size;
    pthread_t producer;
    check(pthread_create(&producer, NULL, produce, queue) == 0, "pthread_create");
    int taken = 0;
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        while (queue->used == 0 && !queue->closed) pthread_cond_wait(&queue->changed, &queue->lock);
        if (queue->used == 0) {
            pthread_mutex_unlock(&queue->lock);
            break;
        }
        unsigned char *block = queue->blocks[--queue->used];
        pthread_cond_signal(&queue->changed);
        pthread_mutex_unlock(&queue->lock);
        check_bytes(block, size, 0x5A, "contents of a block");
        free(block);
        ++taken;
    }
    pthread_join(producer, NULL);
    check(taken == 20000, "every block arrived");
    free(queue);
}

static void *survive_in_thread(void *argument) {
    survive((uint64_t)(uintptr_t)argument);
    return NULL;
}

static void thread_churn(size_t size) {
    for (int round = 0; round < 40; ++round) {
        pthread_t threads[4];
        for (int i = 0; i < 4; ++i) {
            void *seed = (void *)(uintptr_t)(round * 4 + i);
            check(pthread_create(&threads[i], NULL, i == 0 ? survive_in_thread : free_it,
                                 i == 0 ? seed : malloc(size)) == 0,
                  "pthread_create");
        }
        for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
    }
}

static void detached_threads(size_t size) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    for (int i = 0; i < 100; ++i) {
        pthread_t thread;
        check(pthread_create(&thread, &attributes, free_it, malloc(size)) == 0, "pthread_create");
    }
    pthread_attr_destroy(&attributes);
    usleep(50000);
}

// Thread-specific destructors run late in a thread's life, some after the allocator's own; they may still allocate.
static pthread_key_t keys[8];

static void late_destructor(void *block) {
    free(block);
    char *another = malloc(200);
    memset(another, 'd', 200);
    free(another);
    static _Thread_local int rounds;
    if (++rounds < 3) pthread_setspecific(keys[rounds], malloc(64));
}

static void *set_keys(void *argument) {
    for (int i = 0; i < 8; ++i) pthread_setspecific(keys[i], malloc((size_t)(uintptr_t)argument));
    survive(9);
    return NULL;
}

static void thread_exit_destructors(size_t size) {
    for (int i = 0; i < 8; ++i) check(pthread_key_create(&keys[i], late_destructor) == 0, "pthread_key_create");
    for (int i = 0; i < 10; ++i) in_thread(set_keys, (void *)(uintptr_t)size);
}

static volatile int stop;

static void *allocate_until_stopped(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    while (!stop) survive(seed++);
    return NULL;
}

// fork while other threads are inside the allocator.
static void fork_among_threads(size_t size) {
    pthread_t threads[2];
    for (int i = 0; i < 2; ++i) {
        check(pthread_create(&threads[i], NULL, allocate_until_stopped, (void *)(uintptr_t)(i * 1000)) == 0,
              "pthread_create");
    }
    for (int i = 0; i < 20; ++i) {
        char *p = malloc(size);
        const pid_t child = fork();
        if (child == 0) {
            free(p);
            survive(3);
            in_thread(survive_in_thread, (void *)4);
            _exit(0);
        }
        int status = -1;
        waitpid(child, &status, 0);
        check(status == 0, "the child ended well");
        free(p);
    }
    stop = 1;
    for (int i = 0; i < 2; ++i) pthread_join(threads[i], NULL);
    stop = 0;
}

static void *cancelled(void *argument) {
    char *p = malloc((size_t)(uintptr_t)argument);
    pthread_cleanup_push(free, p);
    for (;;) usleep(1000);
    pthread_cleanup_pop(1);
    return NULL;
}

static void cancelled_threads(size_t size) {
    for (int i = 0; i < 20; ++i) {
        pthread_t thread;
        check(pthread_create(&thread, NULL, cancelled, (void *)(uintptr_t)size) == 0, "pthread_create");
        usleep(500);
        pthread_cancel(thread);
        pthread_join(thread, NULL);
    }
}

static void many_threads(size_t size) {
    enum { kThreads = 64 };
    pthread_t threads[kThreads];
    for (int i = 0; i < kThreads; ++i) {
        check(pthread_create(&threads[i], NULL, survive_in_thread, (void *)(uintptr_t)i) == 0, "pthread_create");
    }
    for (int i = 0; i < kThreads; ++i) pthread_join(threads[i], NULL);
    (void)size;
}

// The main thread ends first; the process lives on in another.
static void *finish_alone(void *argument) {
    usleep(20000);
    survive((uint64_t)(uintptr_t)argument);
    printf("main_thread_exits: every block intact\n");
    exit(0);
}

static void main_thread_exits(size_t size) {
    pthread_t thread;
    check(pthread_create(&thread, NULL, finish_alone, (void *)(uintptr_t)size) == 0, "pthread_create");
    pthread_exit(NULL);
}

static const struct bug_case cases[] = {
    {"freed_by_another", freed_by_another},
    {"realloc_by_another", realloc_by_another},
    {"producer_consumer", producer_consumer},
    {"thread_churn", thread_churn},
    {"detached_threads", detached_threads},
    {"thread_exit_destructors", thread_exit_destructors},
    {"fork_among_threads", fork_among_threads},
    {"cancelled_threads", cancelled_threads},
    {"many_threads", many_threads},
    {"main_thread_exits", main_thread_exits},
};
BUG_MAIN(cases)
