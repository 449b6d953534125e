/* Deadlines: src/timekeeper.hpp T1 to T4. The thread that keeps time, one that arms an early timer and ends it again
 * (cancel: claim, disarm, drop), one that arms a later timer. One shard; times are 1, 2 and NEVER. */
#define NEVER 9
#define N 2

byte now;
byte visit = NEVER;
byte bell;
byte asleep_until;       /* 0: awake */
bool sleeping;
bool in[N];              /* in the wheel */
bool done[N];            /* the word has a verdict */
byte holds[N] = 1;
bool freed[N];
byte arms_over;
#define when(t) ((t) + 1)
#define earliest (in[0] -> 1 : (in[1] -> 2 : NEVER))

inline drop(t) {
  atomic { holds[t]--; last = (holds[t] == 0) }
  if
  :: last ->
#ifndef MUTANT_NO_DISARM
     in[t] = false;      /* disarm(), under the lock */
#endif
     freed[t] = true
  :: else
  fi
}

inline arm(t) {
  atomic { /* under the shard's lock */
    in[t] = true;
    early = (when(t) < visit);
    if
    :: early -> visit = when(t)
    :: else
    fi
  }
  if
  :: early -> /* ring() */
#ifdef MUTANT_LOOK_FIRST
     look = asleep_until;
     bell = (bell + 1) % 4;
#else
     bell = (bell + 1) % 4;
     look = asleep_until;
#endif
     if
     :: when(t) < look -> sleeping = false
     :: else
     fi
  :: else
  fi
}

active proctype thread() {
  byte heard, next, t;
  bool popped, last;
end_look:
  heard = bell;
  next = visit;
  if
  :: next <= now -> /* serve(): pop, expire, forget under the lock */
     atomic {
       popped = false;
       if
       :: in[0] && when(0) <= now -> t = 0; popped = true
       :: else ->
          if
          :: in[1] && when(1) <= now -> t = 1; popped = true
          :: else
          fi
       fi;
       if
       :: popped ->
          assert(!freed[t]);
#ifdef MUTANT_UNPINNED
          in[t] = false
#else
          if
          :: holds[t] > 0 -> holds[t]++; in[t] = false
          :: else -> popped = false; in[t] = false /* its owner disarms it: it is left alone (T2) */
          fi
#endif
       :: else
       fi;
       visit = (popped -> 0 : earliest)
     }
     if
     :: popped ->
        assert(!freed[t]);
        done[t] = true; /* turn(): the first verdict stands, either way it has one */
#ifndef MUTANT_UNPINNED
        drop(t)
#endif
     :: else
     fi;
     goto end_look
  :: else
  fi;
  asleep_until = next;
  atomic { /* futex: compares and sleeps */
#ifdef MUTANT_NO_SECOND_LOOK
    sleeping = true
#else
    sleeping = (bell == heard)
#endif
  }
end_sleep:
  if
  :: !sleeping
  :: sleeping && next != NEVER -> atomic { sleeping = false; now = (next > now -> next : now) }
  fi;
  asleep_until = 0;
  goto end_look
}

active proctype ender() {
  bool early, last, mine;
  byte look;
  arm(0);
  arms_over++;
  if
  :: atomic { mine = !done[0]; done[0] = true } /* cancel: claim */
     if
     :: mine -> in[0] = false /* disarm() */
     :: else
     fi
  :: skip /* dropped alive */
  fi;
  drop(0)
}

active proctype armer() {
  bool early;
  byte look;
  arm(1);
  arms_over++
}

/* I8: once nobody rings any more, the thread never sleeps past a deadline that waits. */
#define late ((in[0] && asleep_until > 1) || (in[1] && asleep_until > 2))
ltl not_lost { [] !(arms_over == 2 && sleeping && late) }
