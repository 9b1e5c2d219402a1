/* How a change of the control word is taken up (src/diag/state.cpp: obey_control): `hakmem set` writes the fields, then
 * raises the generation; any thread that finds a generation that is not in force takes it up. Whatever the order, what
 * was set last is in force once every thread that looked is through, and the generation that the process shows as
 * obeyed is never ahead of that for good.
 *
 * spin -a control.pml; -DOVERTAKEN leaves out that a thread looks again whether it was overtaken. */
#define SETS 2
#define THREADS 2

byte generation, field;              /* of the segment */
byte control_seen, level, shown;     /* of the process: taken up, in force, told */
byte done;

proctype command() {
    byte i;
    for (i : 1 .. SETS) {
        field = i;
        generation = i
    };
    done++
}

/* A thread comes by as often as there are changes, at any moments. */
proctype thread() {
    byte asked, seen, read, followed, times;
    for (times : 1 .. SETS) {
        asked = generation;
        seen = control_seen;
        if
        :: asked == seen -> skip
        :: else ->
            if
            :: atomic { control_seen == seen -> control_seen = asked }
                followed = asked;
                do
                :: true ->
                    read = field;
                    level = read;
                    shown = followed;
#ifdef OVERTAKEN
                    break;
#endif
                    seen = control_seen;
                    if
                    :: seen == followed -> break
                    :: else -> followed = seen
                    fi
                od
            :: atomic { control_seen != seen -> skip }
            fi
        fi
    };
    done++
}

init {
    byte i;
    atomic {
        run command();
        for (i : 1 .. THREADS) {
            run thread()
        }
    };
    done == THREADS + 1;
    /* Whoever comes by next finds either nothing to do or a change that is not in force yet. */
    if
    :: control_seen == SETS -> assert(level == SETS && shown == SETS)
    :: else -> assert(generation != control_seen)
    fi
}
