//! Tokio's side of ./bench: tokio-util's CancellationToken and tokio's timers, the same workloads by the same names.
mod suite;

use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use suite::{parallel, report_quantiles, Suite};
use tokio::runtime::Runtime;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

const THREADS: [usize; 6] = [1, 2, 3, 4, 6, 8];

fn canceled() -> CancellationToken {
    let token = CancellationToken::new();
    token.cancel();
    token
}

fn ask(token: &CancellationToken, want: bool, n: usize) {
    for _ in 0..n {
        assert!(black_box(token).is_cancelled() == want);
    }
}

fn asking(s: &Suite) {
    let (live, ended) = (CancellationToken::new(), canceled());
    s.run("ErrOK", |n| ask(&live, false, n));
    s.run("ErrCanceled", |n| ask(&ended, true, n));
    for threads in s.sizes(&THREADS, &[]) {
        for (name, token, want) in [("ErrOKParallel", &live, false), ("ErrCanceledParallel", &ended, true)] {
            s.timed(&format!("{name}/threads={threads}"), |n| {
                parallel(threads, n, |mine, start| {
                    start();
                    ask(token, want, mine);
                    Instant::now()
                })
            });
            s.timed(&format!("{name}Distinct/threads={threads}"), |n| {
                parallel(threads, n, |mine, start| {
                    let own = if want { canceled() } else { CancellationToken::new() };
                    start();
                    ask(&own, want, mine);
                    Instant::now()
                })
            });
        }
    }
}

fn making(s: &Suite) {
    s.run("WithCancel/Root=Background", |n| {
        for _ in 0..n {
            black_box(canceled());
        }
    });
    let open = CancellationToken::new();
    let children = |n: usize| {
        for _ in 0..n {
            black_box(open.child_token()).cancel();
        }
    };
    s.run("WithCancel/Root=OpenCanceler", children);
    for threads in s.sizes(&THREADS, &[]) {
        s.timed(&format!("CommonParentCancelBare/threads={threads}"), |n| {
            parallel(threads, n, |mine, start| {
                start();
                children(mine);
                Instant::now()
            })
        });
    }
}

fn chain(from: CancellationToken, depth: usize) -> CancellationToken {
    (0..depth).fold(from, |parent, _| parent.child_token())
}

fn trees(s: &Suite) {
    for depth in s.sizes(&[1, 10, 100, 1000], &[]) {
        let name = |root: &str| format!("CancelTree/depth={depth}/Root={root}");
        s.run(&name("OpenCanceler"), |n| {
            for _ in 0..n {
                let root = CancellationToken::new();
                let leaf = chain(root.clone(), depth);
                root.cancel();
                assert!(leaf.is_cancelled());
            }
        });
        s.run(&name("ClosedCanceler"), |n| {
            for _ in 0..n {
                assert!(chain(canceled(), depth).is_cancelled());
            }
        });
    }
    for children in s.sizes(&[1, 10, 100, 1000, 10_000, 100_000], &[1_000_000]) {
        s.parts(&format!("FanOut/children={children}"), || {
            let roots: Vec<_> = (0..(1000 / children).max(1)).map(|_| CancellationToken::new()).collect();
            let below: Vec<_> = roots.iter().flat_map(|r| (0..children).map(|_| r.child_token())).collect();
            let from = Instant::now();
            roots.iter().for_each(CancellationToken::cancel);
            let took = from.elapsed();
            assert!(below.iter().all(CancellationToken::is_cancelled));
            (below.len(), took)
        });
    }
}

/// A timer that waits: tokio registers it at the first poll.
fn waiting_timer(after: Duration) -> Pin<Box<Sleep>> {
    let mut timer = Box::pin(tokio::time::sleep(after));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(std::future::Future::poll(timer.as_mut(), &mut cx) == Poll::Pending);
    timer
}

fn timers(s: &Suite, runtime: &Runtime) {
    const HOUR: Duration = Duration::from_secs(3600);
    for waiting in s.sizes(&[40, 400, 4000, 40_000, 400_000], &[4_000_000]) {
        let name = format!("WithTimeout/concurrency={waiting}");
        if !s.wants(&name) {
            continue;
        }
        let _inside = runtime.enter();
        let others: Vec<_> = (0..waiting).map(|_| waiting_timer(HOUR)).collect();
        s.timed(&name, |n| {
            parallel(2, n, |mine, start| {
                let _inside = runtime.enter();
                start();
                for _ in 0..mine {
                    let ten: [_; 10] = std::array::from_fn(|_| waiting_timer(HOUR));
                    drop(black_box(ten));
                }
                Instant::now()
            })
        });
        drop(others);
    }
}

fn lateness(s: &Suite, runtime: &Runtime) {
    if s.wants("Lateness/waiting=1") {
        let late = (0..if s.once { 1 } else { 50 }).map(|_| {
            runtime.block_on(async {
                let when = Instant::now() + Duration::from_millis(1);
                tokio::time::sleep_until(when.into()).await;
                when.elapsed().as_nanos() as f64
            })
        });
        report_quantiles(s, "Lateness/waiting=1", late.collect());
    }
    // As in the other programs, but for the random numbers: a thousand within a tenth of a second.
    if s.wants("Lateness/waiting=1000") {
        let late = runtime.block_on(async {
            let from = Instant::now() + Duration::from_millis(20);
            let tasks: Vec<_> = (0..1000u64)
                .map(|i| {
                    let when = from + Duration::from_nanos(i.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 100_000_000);
                    tokio::spawn(async move {
                        tokio::time::sleep_until(when.into()).await;
                        when.elapsed().as_nanos() as f64
                    })
                })
                .collect();
            let mut late = Vec::new();
            for task in tasks {
                late.push(task.await.unwrap());
            }
            late
        });
        report_quantiles(s, "Lateness/waiting=1000", late);
    }
}

fn waking(s: &Suite, runtime: &Runtime) {
    for waiters in s.sizes(&[1, 10, 100], &[]) {
        let name = format!("WakeUp/waiters={waiters}");
        if !s.wants(&name) {
            continue;
        }
        let (mut last, mut cancel) = (Vec::new(), Vec::new());
        for _ in 0..if s.once { 1 } else { 20 } {
            let token = CancellationToken::new();
            let tasks: Vec<_> = (0..waiters)
                .map(|_| {
                    let token = token.clone();
                    runtime.spawn(async move {
                        token.cancelled().await;
                        Instant::now()
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_micros(500));
            let from = Instant::now();
            token.cancel();
            cancel.push(from.elapsed().as_nanos() as f64);
            let woken = runtime.block_on(async {
                let mut all = Vec::new();
                for task in tasks {
                    all.push(task.await.unwrap());
                }
                all
            });
            last.push((*woken.iter().max().unwrap() - from).as_nanos() as f64);
        }
        last.sort_by(f64::total_cmp);
        cancel.sort_by(f64::total_cmp);
        let metrics = [(last[last.len() / 2], "ns/op"), (cancel[cancel.len() / 2], "cancel-ns")];
        s.report(&name, last.len(), &metrics);
    }
}

fn main() {
    let s = Suite::from_args();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
    asking(&s);
    making(&s);
    trees(&s);
    timers(&s, &runtime);
    lateness(&s, &runtime);
    waking(&s, &runtime);
}
