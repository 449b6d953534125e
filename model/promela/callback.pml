/* Unregistering a callback while its context ends: src/callback.cpp, invariant I6.
 * Two entries; one thread runs callbacks, two destroy them. What a lock guards is one atomic step. */
#define N 2
mtype = { idle, busy, awaited, over };

bool listed[N] = true;   /* next_ */
mtype running[N] = idle; /* running_ */
bool asleep[N];          /* in the futex */
bool inside[N];          /* its function runs */
bool freed[N];           /* its destructor has returned */
bool own[N];             /* it is destroyed inside its own call */
byte calls[N];

proctype runner() {
  byte c;
  bool gone;
  mtype before;
  do
  :: atomic { /* take_next() */
       gone = false;
       if
       :: listed[0] -> c = 0
       :: listed[1] -> c = 1
       :: else -> break
       fi;
       listed[c] = false;
       running[c] = busy
     }
     assert(!freed[c]);
     inside[c] = true;
     calls[c]++;
     assert(calls[c] == 1);
     if
     :: own[c] -> atomic { gone = true; freed[c] = true } /* *gone_ = true */
     :: else
     fi;
     inside[c] = false;
#ifndef MUTANT_GONE_IGNORED
     if
     :: gone -> goto next
     :: else
     fi;
#endif
     assert(!freed[c]);
#ifdef MUTANT_TWO_STEPS
     before = running[c];
     running[c] = over;
#else
     atomic { before = running[c]; running[c] = over } /* exchange */
#endif
     if
     :: before == awaited -> asleep[c] = false /* wake_all: by address only */
     :: else
     fi;
next: skip
  od
}

proctype destroyer(byte c) {
  mtype state;
  bool taken;
  atomic { taken = listed[c]; listed[c] = false } /* unlist() */
  if
  :: taken -> goto end
  :: else
  fi;
#ifndef MUTANT_NO_WAIT
  state = running[c];
  do
  :: state == over -> break
  :: else ->
     if
     :: state != awaited ->
        atomic { /* compare_exchange */
          if
          :: running[c] == state -> running[c] = awaited; state = awaited
          :: else -> state = running[c]
          fi
        }
     :: else
     fi;
     if
     :: state == awaited ->
        atomic { asleep[c] = (running[c] == awaited) } /* futex compares and sleeps */
        !asleep[c];
        state = running[c]
     :: else
     fi
  od;
#endif
end:
  assert(!inside[c]);
  freed[c] = true
}

init {
  atomic {
    run runner();
    if
    :: run destroyer(0)
    :: own[0] = true
    fi;
    run destroyer(1)
  }
}
