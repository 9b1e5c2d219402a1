/* How the blocks of a span that other threads free come home (src/core/heap.cpp: give_remote, post, collect_remote,
 * merge_remote, forward_remote, abandon_spans, adopt). Threads free blocks of one span, in two words of its bitmap,
 * while its owner frees one itself, takes in what has come, lets the span go once all of it is free, or ends and leaves
 * the span to the central heap, from where another heap takes it. Nobody is to reach for a span that was let go, and
 * when all is over, no block is lost, and none lies on the list of a heap that does not own the span.
 *
 * spin -a handover.pml; -DLATE: bits are counted after they are set, -DUNPINNED: the span is not pinned, -DTRUSTING: who
 * has posted the span does not look whether it has changed hands, -DEARLY: who takes it over from the central heap looks
 * at that one's list before only. */
#define NOBODY 0
#define FIRST 1
#define CENTRAL 2
#define SECOND 3
#define HEAPS 4

#ifndef GIVERS
#define GIVERS 2
#endif
#define BLOCKS (GIVERS + 1)  /* one each for the givers, one for the owner */
#define PIN 16

bool lock[HEAPS];
bool listed[HEAPS];  /* the span is on this heap's remote stack */
byte owner = FIRST;
byte bits[2];        /* how many are set in either word */
byte free;
short count;         /* remote_count */
bool posted;
byte pins, done;     /* what really is */

inline acquire(heap) { atomic { !lock[heap]; lock[heap] = true } }
inline release_lock(heap) { lock[heap] = false }

inline take_list(heap) { atomic { took = listed[heap]; listed[heap] = false } }

/* post, which forwards where it has to */
inline post() {
    do
    :: to = owner;
        assert(to != NOBODY);
        atomic { assert(!listed[to]); listed[to] = true };
#ifdef TRUSTING
        break
#else
        if
        :: owner == to -> break
        :: else ->
            take_list(to);
            if
            :: took -> skip
            :: else -> break
            fi
        fi
#endif
    od;
    to = 0; took = false  /* fewer states */
}

/* forward_remote */
inline forward(heap) {
    take_list(heap);
    if
    :: took -> post()
    :: else
    fi
}

/* after_gain: the reads of Span::idle one by one */
inline let_go_if_idle() {
    if
    :: free == BLOCKS ->
        if
        :: count < PIN ->
            if
            :: !posted ->
                assert(pins == 0 && !listed[FIRST] && !listed[CENTRAL] && !listed[SECOND]);
                owner = NOBODY
            :: else
            fi
        :: else
        fi
    :: else
    fi
}

/* collect_remote, with merge_remote; the heap's lock is held */
inline collect(heap) {
    take_list(heap);
    if
    :: took ->
        if
        :: owner == heap ->
            posted = false;
            gained = 0;
            for (word : 0 .. 1) {
                atomic { seen = bits[word]; bits[word] = 0 };
                count = count - seen;
                gained = gained + seen
            };
            seen = 0;
            word = 0;
            took = false;
            free = free + gained;
            if
            :: gained != 0 -> gained = 0; let_go_if_idle()
            :: else
            fi
        :: else -> post()
        fi
    :: else
    fi
}

/* give_remote, of one block */
proctype giver(byte mine) {
    byte to, seen, gained, word, left;
    bool took;
#ifndef UNPINNED
    atomic {
#ifdef LATE
        count = count + PIN;
#else
        count = count + PIN + 1;
#endif
        pins++
    };
#else
    atomic { count++; pins++ };
#endif
    bits[mine]++;
    if
    :: !posted ->
        atomic { took = posted; posted = true };
        if
        :: !took -> post()
        :: else
        fi
    :: else
    fi;
    left = BLOCKS - free;
    took = false;
    atomic {
        assert(owner != NOBODY);
#ifdef LATE
        count = count + 1 - PIN;
#else
#ifdef UNPINNED
        skip;
#else
        count = count - PIN;
#endif
#endif
        seen = count % PIN;
        pins--
    };
    if
    :: seen >= left ->
        to = owner;
        if
        :: to != NOBODY ->
            atomic { took = lock[to]; lock[to] = true };
            if
            :: !took ->
                /* `to` changes below */
                left = to;
                collect(left);
                release_lock(left)
            :: else
            fi
        :: else
        fi
    :: else
    fi;
    done++
}

proctype first_owner() {
    byte to, seen, gained, word;
    bool took;
    /* give, of an own block */
    acquire(FIRST);
    free++;
    let_go_if_idle();
    release_lock(FIRST);
    if
    :: true ->
        acquire(FIRST);
        collect(FIRST);
        release_lock(FIRST)
    :: true ->
        /* abandon_spans */
        acquire(FIRST);
        collect(FIRST);
        acquire(CENTRAL);
        if
        :: owner == FIRST -> owner = CENTRAL
        :: else
        fi;
        forward(FIRST);
        release_lock(CENTRAL);
        release_lock(FIRST)
    fi;
    done++
}

/* adopt, then what its thread does from time to time */
proctype second_owner() {
    byte to, seen, gained, word;
    bool took;
    acquire(SECOND);
    acquire(CENTRAL);
    collect(CENTRAL);
    if
    :: owner == CENTRAL && free != 0 ->
        owner = SECOND;
#ifndef EARLY
        forward(CENTRAL)
#endif
    :: else
    fi;
    release_lock(CENTRAL);
    collect(SECOND);
    release_lock(SECOND);
    done++
}

/* The owner's next look. */
proctype heir() {
    byte to, seen, gained, word, heap;
    bool took;
    done == GIVERS + 2;
    for (heap : FIRST .. SECOND) {
        assert(!listed[heap] || heap == owner)
    };
    heap = owner;
    if
    :: heap != NOBODY ->
        collect(heap);
        assert(free == BLOCKS && count == 0 && !posted && bits[0] == 0 && bits[1] == 0)
    :: else
    fi
}

init {
    atomic {
        run giver(0);
        run giver(1);
#if GIVERS > 2
        run giver(0);
#endif
        run first_owner();
        run second_owner();
        run heir()
    }
}
