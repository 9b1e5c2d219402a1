/* The gate between unwinding and fork (src/diag/backtrace.cpp: enter, leave, before_fork, after_fork_in_child). A child
 * gives its backtraces up where its copy of the gate says that a thread was inside, as that may hold locks which nobody
 * releases there. A fork that has waited for all to leave never makes such a child; one that was out of patience makes
 * no child that goes on although somebody was inside.
 *
 * spin -a gate.pml; -DAPART: the two counts are words of their own, so that a thread has to be inside before it can see
 * that a fork has begun. */
#define THREADS 3
#define FORKS 2
#define TURNS 2

byte inside, forking;  /* the gate */
byte holds;            /* threads that hold the unwinder's locks */

proctype thread() {
    byte turn;
    bool entered;
    for (turn : 1 .. TURNS) {
        entered = false;
        do
#ifdef APART
        :: inside++;
            if
            :: forking == 0 -> entered = true; break
            :: else -> inside--
            fi
#else
        :: atomic { forking == 0 -> inside++ };  /* compare and exchange */
            entered = true;
            break
#endif
        :: forking != 0 -> break  /* out of patience */
        od;
        if
        :: entered ->
            holds++;
            holds--;
            inside--
        :: else
        fi
    }
}

proctype forks() {
    bool waited = false;
    forking++;
    if
    :: inside == 0 -> waited = true
    :: true  /* out of patience */
    fi;
    /* The child's copy of the memory. */
    atomic {
        assert(!waited || inside == 0);
        assert(inside > 0 || holds == 0)
    };
    forking--
}

init {
    byte i;
    atomic {
        for (i : 1 .. THREADS) { run thread() }
        for (i : 1 .. FORKS) { run forks() }
    }
}
