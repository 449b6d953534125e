/* Ending a context and all below it: src/cancel.cpp, invariant I3. A chain of three, 0 above 1 above 2; one process
 * cancels 0, one cancels 1, one attaches node 3 below 2 and drops it or keeps it. What a lock guards is one atomic step. */
#define N 4
#define PARENT(n) ((n) == 3 -> 2 : (n) - 1)
mtype = { live, claimed, done };

mtype word[N] = live;
bool settled[N];
bool hooks[N];       /* something hangs on it: a cancel visits its list */
bool listed[N];      /* on its parent's list */
bool freed[N];
byte decider[N] = N; /* whose verdict it carries */
bool attached, attach_over;

/* The walk below n, which this process has turned: its one child, if any. Then n and what was turned are settled. */
inline walk(n) {
  at = n;
  do
  :: at < N - 1 ->
     atomic { /* under the lock of `at`: take and turn_one() */
       lost = false;
       below = (hooks[at] && listed[at + 1]);
       if
       :: below ->
          assert(!freed[at + 1]);
          listed[at + 1] = false;
          if
          :: word[at + 1] == live -> word[at + 1] = done; decider[at + 1] = decider[n]
          :: else -> lost = true
          fi
       :: else
       fi
     }
     if
     :: !below -> break
     :: below && lost ->
#ifndef MUTANT_NO_WAIT
        settled[at + 1];  /* await(settled): another walk has turned all below it */
#endif
        break
     :: else -> at++
     fi
  :: else -> break
  od;
  settled[n] = true
}

inline cancel(n) {
  atomic {
    won = (word[n] == live);
    if
    :: won -> word[n] = claimed
    :: else
    fi
  }
  if
  :: won ->
     atomic { word[n] = done; decider[n] = n } /* publish() */
     walk(n);
     /* I3: when the one that decided returns, every descendant is done */
     assert(word[n] == done);
     assert(n >= 1 || word[1] == done);
     assert(word[2] == done);
     assert(!(attached && !freed[3]) || word[3] == done)
  :: else ->
     word[n] == done; /* await_verdict() */
  fi
}

proctype canceler(byte n) {
  byte at;
  bool won, lost, below;
  cancel(n)
}

proctype attacher() {
  bool late, gone;
  atomic { /* link(): is_open() under the lock of 2 */
#ifdef MUTANT_OPEN_BLIND
    late = false;
#else
    late = (word[2] == done);
#endif
    if
    :: !late -> hooks[2] = true; listed[3] = true; attached = true
    :: else
    fi
  }
  if
  :: late -> atomic { word[3] = done; decider[3] = decider[2]; attached = true } /* inherit() */
  :: else
  fi;
  attach_over = true;
  if
  :: atomic { /* the last handle goes: leave() under the lock of 2 */
       listed[3] = false;
       freed[3] = true
     }
  :: skip
  fi
}

init {
  atomic {
    hooks[0] = true; hooks[1] = true;
    listed[1] = true; listed[2] = true;
    run canceler(0);
    run canceler(1);
    run attacher()
  }
}

/* Nothing stays live below what has ended and settled; a verdict is never taken back; it is one's own or from above. */
#define kept (!(settled[0] && attach_over && !freed[3]) || word[3] == done)
#define from_above ((word[2] != done || decider[2] < 2) && (word[1] != done || decider[1] < 2) && decider[0] != 1)
ltl all_below { [] (kept && from_above) }
