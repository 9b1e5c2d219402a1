/* How an incident gets into the segment and how it is read (src/diag/incident_table.h, src/segment/reader.cpp). Threads
 * note incidents, the same one or others, and the process may be killed between any two steps. A reader, which may be
 * there before, meanwhile and after that, must never take a record that is half written; when all is over, each
 * incident is in one record, and no count of a note that returned is missing (the code gives up waiting for a writer in
 * the end, as that may be the very thread below a signal handler; the model waits).
 *
 * spin -a incidents.pml; -DUNCHECKED: the reader does not look at the sequence, -DEARLY: the writer says that a record is
 * whole before it is, -DIMPATIENT: who finds a record does not wait until it is written. */
#define WRITERS 3
#define RECORDS 3

byte slot[2];              /* by key: the record's number + 1 */
byte used, shown;
byte sequence[RECORDS], key[RECORDS], data[RECORDS], count[RECORDS];
bool killed;
byte returned[2];          /* notes of this key that have come back */
byte done;

#define alive !killed

proctype writer(byte own) {
    byte record, seen;
    bool is_new;
    /* find_place */
    record = RECORDS;
    atomic { alive; seen = slot[own] };
    if
    :: seen == 0 ->
        atomic { alive; record = used; used++ };
        atomic { alive; if :: shown < record + 1 -> shown = record + 1 :: else fi };
        atomic {
            alive;
            if
            :: slot[own] == 0 -> slot[own] = record + 1; is_new = true
            :: else ->
                /* Somebody was quicker: the record is given back where nobody reserved behind it. */
                if :: used == record + 1 -> used = record :: else fi;
                record = slot[own] - 1
            fi
        }
    :: else -> record = seen - 1
    fi;
    if
    :: is_new ->
        atomic { alive; sequence[record] = 1 };
#ifdef EARLY
        atomic { alive; sequence[record] = 2 };
#endif
        atomic { alive; data[record] = own + 10 };
        atomic { alive; key[record] = own + 1 };
        atomic { alive; count[record]++ };
        atomic { alive; sequence[record] = 2 }
    :: else ->
        atomic { alive; count[record]++ };
#ifndef IMPATIENT
        /* wait_until_written */
        atomic { alive; sequence[record] == 2 }
#endif
    fi;
    atomic { alive; returned[own]++ };
    done++
}

proctype killer() {
    killed = true
}

/* One look at one record, as reader.cpp has it: the record from its start, then the sequence once more. */
proctype reader() {
    byte i, first, its_key, its_data;
    select(i : 0 .. RECORDS - 1);
    if
    :: i < shown ->
        first = sequence[i];
        its_key = key[i];
        its_data = data[i];
#ifdef UNCHECKED
        assert(first == 0 || its_data == its_key + 9)
#else
        assert(first != 2 || sequence[i] != 2 || (its_data == its_key + 9 && its_key != 0))
#endif
    :: else
    fi
}

/* All is over, or the process was killed: what the exporter makes of the file that is left. */
proctype heir() {
    byte i, seen[2];
    atomic {
        killed || done == WRITERS;
        for (i : 0 .. RECORDS - 1) {
            if
            :: i < shown && sequence[i] == 2 ->
                assert(seen[key[i] - 1] == 0);
                seen[key[i] - 1] = count[i]
            :: else
            fi
        };
        assert(seen[0] >= returned[0] && seen[1] >= returned[1])
    }
}

init {
    atomic {
        run writer(0);
        run writer(0);
        run writer(1);
        run killer();
        run reader();
        run heir()
    }
}
