"""The rows that heed has set itself a mark for: how much cheaper than Go, how close to the floor.

A floor is another row, measured in the same run: a part (benchmarks/heed/floors.cpp), or the bare steps of the whole operation
(sketches.cpp). Or a number: what a prototype took on the kind of machine that the marks were set on (nanoseconds on a
Zen 4 server core).
"""
import re
from collections import namedtuple

# go: the wanted Go / heed. floor_ratio: the wanted heed / floor. most: the wanted value itself.
Mark = namedtuple("Mark", "row unit go floor floor_ratio most go_row")


def mark(row, unit="ns/op", go=None, floor=None, floor_ratio=None, most=None, go_row=None):
    return Mark(row, unit, go, floor, floor_ratio, most, go_row or row)


def marks():
    load, parallel = "Floor/Load", "Floor/LoadParallel"
    yield "Asking", [
        mark("ErrOK", go=9, floor=load, floor_ratio=1.15),
        mark("ErrOK/kind=Background", floor=load, floor_ratio=1.15),
        mark("ErrOK/kind=WithTimeout", go=9, floor=load, floor_ratio=1.15),
        mark("ErrOK/kind=WithValue", go=9, floor=load, floor_ratio=1.15),
        mark("ErrOK/kind=WithoutCancel", floor=load, floor_ratio=1.15),
        mark("ErrCanceled", go=60, floor=load, floor_ratio=1.15),
        mark("ErrCanceled/kind=WithTimeout", go=60, floor=load, floor_ratio=1.15),
        mark("ErrCanceled/kind=WithValue", go=60, floor=load, floor_ratio=1.15),
        mark("CheckCanceled/Err", floor=load),
        mark("CheckCanceled/Done", floor=load),
        mark("ContextCancelDone", floor=parallel),
        mark("ErrOKParallel/threads=2", go=8, floor=parallel, floor_ratio=1.3),
        mark("ErrOKParallelDistinct/threads=2", go=8, floor=parallel, floor_ratio=1.3),
        mark("ErrCanceledParallel/threads=2", go=90, floor=parallel, floor_ratio=1.3),
        mark("ErrCanceledParallelDistinct/threads=2", go=90, floor=parallel, floor_ratio=1.3),
        mark("ErrOKWhileChildrenComeAndGo", go=10, floor=load, floor_ratio=3),
    ]
    yield "Making and ending", [
        mark("CommonParentCancel", go=1.95),
        mark("CommonParentCancelBare/threads=2", go=40, floor="Floor/CommonParentCancelBare/threads=2"),
        mark("RequestsOfOneServer/threads=1"),
        mark("RequestsOfOneServer/threads=2"),
        mark("WithCancel/Root=Background", go=25, floor="Floor/WithCancel/Root=Background"),
        mark("WithCancel/Root=OpenCanceler", go=22, floor="Floor/WithCancel/Root=OpenCanceler"),
        *(
            mark(f"CancelTree/depth={d}/Root={root}", go=go, floor=f"Floor/CancelTree/depth={d}/Root={root}")
            for root, go in [("Background", 35), ("OpenCanceler", 25), ("ClosedCanceler", 25)]
            for d in [1, 10, 100, 1000]
        ),
        *(
            mark(f"FanOut/children={n}", go=go, floor=f"Floor/FanOut/children={n}")
            for n, go in [(1000, 20), (100000, 50), (1000000, 55)]
        ),
        mark("FanOutShuffled/children=1000000", go=22, floor=9),
    ]
    yield "Deadlines", [
        *(mark(f"WithTimeout/concurrency={n}", go=go, floor="Floor/WithTimeout") for n, go in [(40, 25), (4000, 25), (400000, 35)]),
        *(
            mark(f"Lateness/waiting={n}", unit, go=go, floor="Floor/FutexSleep")
            for n, go in [(1, 3), (1000, 20)]
            for unit in ["p50-ns", "p99-ns"]
        ),
    ]
    yield "Values", [
        *(mark(f"WithValueChain/length={n}", go=12, floor=f"Floor/WithValueChain/length={n}") for n in [1, 10, 100]),
        *(
            mark(f"WithValueChainMoved/length={n}", floor=f"Floor/WithValueChainMoved/length={n}",
                 go_row=f"WithValueChain/length={n}")
            for n in [1, 10, 100]
        ),
        *(mark(f"ValueMiss/depth={d}", go=go, floor=0.5) for d, go in [(10, 40), (50, 50), (100, 30)]),
        *(mark(f"ValueHit/depth={d}", go=go, floor=f) for d, go, f in [(1, 5, 0.8), (10, 7, 4), (100, 12, 15)]),
        *(mark(f"DeepValueSameGoRoutine/depth={d}", floor=0.5) for d in [10, 20, 30, 50, 100]),
        *(mark(f"DeepValueNewGoRoutine/depth={d}", floor="Floor/FutexRoundTrip") for d in [10, 20, 30, 50, 100]),
    ]
    yield "Being told", [
        mark("AfterFunc/threads=1", go=33, floor="Floor/AfterFunc/threads=1"),
        mark("AfterFunc/threads=2", go=45, floor="Floor/AfterFunc/threads=2"),
        mark("CancelCallback/threads=1", go_row="AfterFunc/threads=1"),
        mark("CancelCallback/threads=2", go_row="AfterFunc/threads=2"),
        mark("WakeUp/waiters=1", go=1, floor="Floor/FutexWake", go_row="WakeUpThread/waiters=1"),
        mark("WakeUp/waiters=10", go=1, go_row="WakeUpThread/waiters=10"),
        mark("WakeUp/waiters=100", go=1, go_row="WakeUpThread/waiters=100"),
        mark("WakeUp/waiters=100", "cancel-ns", go=1, go_row="WakeUpThread/waiters=100"),
    ]
    yield "Memory", [
        mark("Memory/kind=WithCancel", "B/ctx", floor=48, most=80),
        mark("Memory/kind=WithCancel/Root=OpenCanceler", "B/ctx", floor=48, most=80),
        mark("Memory/kind=WithTimeout", "B/ctx", floor=80, most=112),
        mark("Memory/kind=WithValue", "B/ctx", floor=40, most=56),
    ]


def families(rows):
    """What is measured in one go, program after program: regular expressions, one for all rows of one first name, with the
    peers' rows and the floors that those are compared with. `rows`: heed's."""
    together = {row.split("/")[0]: set() for row in rows}
    floors = {name: set() for name in together}
    for m in (m for _, group in marks() for m in group):
        name, peer = m.row.split("/")[0], m.go_row.split("/")[0]
        if name not in together:
            continue
        together[name].add(peer)
        if isinstance(m.floor, str):
            floors[name].add(m.floor)
    for name, peers in list(together.items()):
        # Compared with a peer's row that has a family: a part of that one.
        for home in [p for p in peers if p != name and p in together]:
            together[home] |= {name, *together.pop(name)}
            floors[home] |= floors.pop(name)
    for name, names in together.items():
        names.add(name)
        yield f"^({'|'.join(map(re.escape, sorted(names)))})(/|$)" + "".join(f"|^{f}$" for f in sorted(floors[name]))
