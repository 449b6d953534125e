//! How often to repeat, how to take the time, what to print: what harness.hpp is to the programs in C++.
use std::sync::Barrier;
use std::time::{Duration, Instant};

pub struct Suite {
    pub once: bool,
    large: bool,
    target: Duration,
    rows: Option<Vec<String>>,
}

impl Suite {
    pub fn from_args() -> Suite {
        let mut s = Suite { once: false, large: false, target: Duration::from_millis(10), rows: None };
        let mut args = std::env::args().skip(1);
        while let Some(option) = args.next() {
            match option.as_str() {
                "--once" => s.once = true,
                "--large" => s.large = true,
                "--rows" => {
                    let rows = args.next().expect("--rows NAME,NAME...");
                    s.rows = Some(rows.split(',').map(str::to_string).collect());
                }
                "--ms" => {
                    let ms: f64 = args.next().and_then(|t| t.parse().ok()).expect("--ms TIME");
                    s.target = Duration::from_secs_f64(ms / 1e3);
                }
                _ => panic!("usage: heed-bench-tokio [--rows NAME,NAME...] [--ms TIME_PER_ROW] [--large] [--once]"),
            }
        }
        s
    }

    /// Whether to measure this row.
    pub fn wants(&self, name: &str) -> bool {
        self.rows.as_ref().map_or(true, |rows| rows.iter().any(|r| r == name))
    }

    pub fn sizes(&self, small: &[usize], large: &[usize]) -> Vec<usize> {
        if self.once {
            return vec![small[0]];
        }
        let mut all = small.to_vec();
        if self.large {
            all.extend(large);
        }
        all
    }

    /// Measures `f(n)`, which does the operation n times and gives the time that counts.
    pub fn timed(&self, name: &str, mut f: impl FnMut(usize) -> Duration) {
        if !self.wants(name) {
            return;
        }
        let (mut n, mut best, mut doubts) = (1, 0.0, 3);
        loop {
            let took = f(n).max(Duration::from_nanos(1));
            let each = took.as_nanos() as f64 / n as f64;
            let enough = took >= self.target || n > 1_000_000_000;
            // As in harness.hpp: was the machine busy with something else?
            let doubtful = enough && each > 3.0 * best && doubts > 0;
            if self.once || (enough && !doubtful) {
                self.report(name, n, &[(each, "ns/op")]);
                return;
            }
            best = if best > 0.0 { each.min(best) } else { each };
            if doubtful {
                doubts -= 1;
                continue;
            }
            n = (n + 1).max(((1.2 * self.target.as_nanos() as f64 / each) as usize).min(100 * n));
        }
    }

    pub fn run(&self, name: &str, mut f: impl FnMut(usize)) {
        self.timed(name, |n| {
            let from = Instant::now();
            f(n);
            from.elapsed()
        });
    }

    /// Measures `some()`, which does some operations and tells how many and how long they took.
    pub fn parts(&self, name: &str, mut some: impl FnMut() -> (usize, Duration)) {
        if !self.wants(name) {
            return;
        }
        let (mut count, mut total) = (0, Duration::ZERO);
        let from = Instant::now();
        loop {
            let (c, t) = some();
            count += c;
            total += t;
            if self.once || from.elapsed() >= self.target {
                break;
            }
        }
        self.report(name, count, &[(total.as_nanos() as f64 / count as f64, "ns/op")]);
    }

    pub fn report(&self, name: &str, n: usize, metrics: &[(f64, &str)]) {
        print!("Benchmark{name}\t{n}");
        for (value, unit) in metrics {
            print!("\t{value:.4} {unit}");
        }
        println!();
    }
}

/// n operations shared out to threads: from the first one's start to the last one's end.
pub fn parallel(threads: usize, n: usize, body: impl Fn(usize, &dyn Fn() -> Instant) -> Instant + Sync) -> Duration {
    let gate = Barrier::new(threads);
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|i| {
                let (gate, body) = (&gate, &body);
                let mine = n / threads + usize::from(i < n % threads);
                scope.spawn(move || {
                    let from = std::cell::Cell::new(Instant::now());
                    let to = body(mine, &|| {
                        gate.wait();
                        from.set(Instant::now());
                        from.get()
                    });
                    (from.get(), to)
                })
            })
            .collect();
        running.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let from = spans.iter().map(|s| s.0).min().unwrap();
    spans.iter().map(|s| s.1).max().unwrap() - from
}

pub fn report_quantiles(s: &Suite, name: &str, mut late: Vec<f64>) {
    assert!(late.iter().all(|&l| l >= 0.0), "a deadline came too early");
    late.sort_by(f64::total_cmp);
    let at = |q: f64| late[(q * (late.len() - 1) as f64) as usize];
    s.report(name, late.len(), &[(at(0.5), "p50-ns"), (at(0.99), "p99-ns")]);
}
