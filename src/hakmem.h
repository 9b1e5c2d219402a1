/* hakmem.h: for programs that want to talk to the allocator they run under. Optional in every way.
 *
 * A program that includes this header needs no library for it: each function looks the running allocator up when it is
 * called, and answers -1 with errno ENOSYS where the program runs without hakmem. So the same binary runs under the
 * diagnostic library, under the production library, and under any other allocator.
 *
 * C99 and C++11 or later. All functions may be called from any thread, not from signal handlers.
 * `pkg-config --cflags hakmem` tells where it is installed.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Which library the program runs under. */
enum hakmem_library {
    HAKMEM_NONE = 0,       /* none of hakmem's */
    HAKMEM_PRODUCTION = 1, /* libhakmem.so: allocates, counts nothing */
    HAKMEM_DIAGNOSTIC = 2  /* libhakmem-diag.so */
};

/* Sums over all threads, since the process (or its fork) began. Bytes are those of whole blocks. */
struct hakmem_counters {
    uint64_t allocations;
    uint64_t frees;
    uint64_t allocated_bytes;
    uint64_t freed_bytes;
    uint64_t live_bytes;        /* allocated and not freed */
    uint64_t mapped_bytes;      /* address space that the heap has from the kernel */
    uint64_t quarantine_bytes;  /* freed, and held back from reuse */
    uint64_t incidents;         /* of every kind */
    uint64_t headers_recovered; /* frees of a block of ours whose header had been overwritten */
    uint64_t frees_rejected;    /* bad frees that were refused */
    uint64_t audits;
    uint64_t headers_audited;
};

/* What an audit has seen. */
struct hakmem_audit_result {
    uint64_t headers;  /* checked */
    uint32_t corrupt;  /* of them: each is an incident, with whoever is suspected */
    uint32_t complete; /* 0: it ended early, as it took longer than a minute */
};

/* C as well: NULL it is. NOLINTBEGIN(modernize-use-nullptr) */

/* Use hakmem_find only through the functions below. */
typedef void (*hakmem_function_)(void);
static inline hakmem_function_ hakmem_find_(const char *name) {
    union {
        void *object;
        hakmem_function_ function;
    } found;
    found.object = dlsym((void *)0 /* RTLD_DEFAULT */, name);
    if (found.object == NULL) errno = ENOSYS;
    return found.function;
}

static inline enum hakmem_library hakmem_library_in_use(void) {
    const int saved_errno = errno;
    int (*const function)(void) = (int (*)(void))hakmem_find_("hakmem_v1_library");
    errno = saved_errno;
    return function != NULL ? (enum hakmem_library)function() : HAKMEM_NONE;
}

/* The program's own counters. 0 if done. -1: ENOSYS without hakmem; ENOTSUP under the production library, which knows
 * mapped_bytes and fills the rest with 0. */
static inline int hakmem_read_counters(struct hakmem_counters *counters) {
    int (*const function)(struct hakmem_counters *, size_t) =
        (int (*)(struct hakmem_counters *, size_t))hakmem_find_("hakmem_v1_read_counters");
    return function != NULL ? function(counters, sizeof *counters) : -1;
}

/* Sweeps the whole heap now, in the calling thread and while others go on, as `hakmem audit` does: 0 if every header is
 * as it should be, 1 if some were not (the incidents are recorded, the headers repaired). -1: ENOSYS without hakmem,
 * ENOTSUP under the production library, EBUSY while another audit runs. `result` may be NULL. */
static inline int hakmem_audit(struct hakmem_audit_result *result) {
    int (*const function)(struct hakmem_audit_result *, size_t) =
        (int (*)(struct hakmem_audit_result *, size_t))hakmem_find_("hakmem_v1_audit");
    return function != NULL ? function(result, sizeof *result) : -1;
}

/* Incidents of the calling thread bear this tag (15 bytes of it) in place of the thread's name from now on: the request
 * or the tenant that it works for. NULL or "" ends that. The text is copied. 0 if done. -1: ENOSYS without hakmem. */
static inline int hakmem_tag_thread(const char *tag) {
    int (*const function)(const char *) = (int (*)(const char *))hakmem_find_("hakmem_v1_tag_thread");
    return function != NULL ? function(tag) : -1;
}

/* NOLINTEND(modernize-use-nullptr) */

#ifdef __cplusplus
}
#endif

#endif
