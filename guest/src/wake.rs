// SPDX-License-Identifier: GPL-2.0-only
//! Requests and workers: messengers wake workers through a futex, and the time from the wake to
//! the first instruction of the worker is measured. After schbench, in small.
//! Never counts a request that found its worker awake: nothing was scheduled then.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::sys;

/// Turns between two looks at the clock, about ten microseconds of an emulated CPU.
const TURNS_A_LOOK: u32 = 400;
/// Samples a worker has room for before its list grows: growing would show as latency.
const SAMPLES: usize = 100_000;

/// How many threads, and what they do.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Threads that wake others.
    pub messengers: u32,
    /// Threads each of them wakes.
    pub workers: u32,
    /// CPU time of a request, in microseconds.
    pub work_us: u64,
    /// Mean time a worker sleeps before it asks again, in microseconds.
    pub think_us: u64,
    /// Time before samples count.
    pub warmup: Duration,
    /// Time in which they count.
    pub window: Duration,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Wake-ups.
    pub count: usize,
    /// Median, in microseconds.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// Longest.
    pub max_us: f64,
    /// Requests done, a second, that found their worker asleep.
    pub requests_per_second: f64,
}

/// What a messenger and one of its workers share.
#[derive(Default)]
struct Desk {
    /// The worker waits for a request.
    asking: AtomicBool,
    /// When the request was sent; 0 is none.
    sent_ns: AtomicU64,
}

#[derive(Default)]
struct Run {
    stop: AtomicBool,
    count_from_ns: AtomicU64,
}

/// Runs `shape` and reports.
///
/// # Errors
/// When threads cannot be started, or nothing was measured.
pub fn run(shape: &Shape) -> Result<Latencies> {
    let run = Arc::new(Run::default());
    run.count_from_ns.store(u64::MAX, Ordering::Relaxed);
    let mut messengers = Vec::new();
    let mut workers = Vec::new();
    for messenger in 0..shape.messengers {
        let (desks, receiver) = channel();
        let handle = spawn("messenger", {
            let run = Arc::clone(&run);
            move || carry(&run, &receiver)
        })?;
        let mut own = Vec::new();
        for worker in 0..shape.workers {
            let desk = Arc::new(Desk::default());
            let seed = u64::from(messenger * shape.workers + worker) + 1;
            let handle = spawn("worker", {
                let (run, desk) = (Arc::clone(&run), Arc::clone(&desk));
                let (boss, shape) = (handle.thread().clone(), *shape);
                move || work(&run, &desk, &boss, &shape, seed)
            })?;
            own.push((desk, handle.thread().clone()));
            workers.push(handle);
        }
        desks.send(own).context("giving a messenger its workers")?;
        messengers.push(handle);
    }
    thread::sleep(shape.warmup);
    run.count_from_ns
        .store(sys::monotonic_ns(), Ordering::Relaxed);
    thread::sleep(shape.window);
    run.stop.store(true, Ordering::Relaxed);

    let mut samples = Vec::new();
    for handle in workers {
        handle.thread().unpark();
        match handle.join() {
            Ok(own) => samples.extend(own),
            Err(_) => bail!("a worker panicked"),
        }
    }
    for handle in messengers {
        handle.thread().unpark();
        if handle.join().is_err() {
            bail!("a messenger panicked");
        }
    }
    summary(samples, shape.window).context("no worker was woken in the window")
}

fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>> {
    let builder = thread::Builder::new().name(name.to_owned());
    builder
        .spawn(body)
        .with_context(|| format!("starting a {name}"))
}

/// Answers every worker that asks; sleeps when none does.
fn carry(run: &Run, desks: &Receiver<Vec<(Arc<Desk>, Thread)>>) {
    let Ok(desks) = desks.recv() else { return };
    while !run.stop.load(Ordering::Relaxed) {
        for (desk, worker) in &desks {
            if desk.asking.swap(false, Ordering::Acquire) {
                desk.sent_ns.store(sys::monotonic_ns(), Ordering::Release);
                worker.unpark();
            }
        }
        thread::park();
    }
}

/// Thinks, asks, works; gives the time from wake to running of each request, in nanoseconds.
fn work(run: &Run, desk: &Desk, boss: &Thread, shape: &Shape, seed: u64) -> Vec<u64> {
    let mut samples = Vec::with_capacity(SAMPLES);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    loop {
        // Half to three halves of the mean: else all workers fall into one step.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let think_ns = shape.think_us * 500 + random % (shape.think_us * 1000 + 1);
        sys::sleep_until(sys::monotonic_ns() + think_ns);

        desk.asking.store(true, Ordering::Release);
        boss.unpark();
        let mut slept = false;
        let sent_ns = loop {
            match desk.sent_ns.swap(0, Ordering::Acquire) {
                0 if run.stop.load(Ordering::Relaxed) => return samples,
                0 => thread::park(),
                sent_ns => break sent_ns,
            }
            slept = true;
        };
        let now_ns = sys::monotonic_ns();
        if slept && sent_ns >= run.count_from_ns.load(Ordering::Relaxed) {
            samples.push(now_ns.saturating_sub(sent_ns));
        }
        let end_ns = sys::thread_cpu_ns() + shape.work_us * 1000;
        while sys::thread_cpu_ns() < end_ns {
            for turn in 0..TURNS_A_LOOK {
                black_box(turn);
            }
        }
    }
}

fn summary(mut samples: Vec<u64>, window: Duration) -> Option<Latencies> {
    samples.sort_unstable();
    let at = |part: f64| Some(*samples.get(rank(samples.len(), part)?)? as f64 / 1000.0);
    Some(Latencies {
        count: samples.len(),
        p50_us: at(0.5)?,
        p99_us: at(0.99)?,
        p999_us: at(0.999)?,
        max_us: at(1.0)?,
        requests_per_second: samples.len() as f64 / window.as_secs_f64(),
    })
}

/// Place of the smallest of `count` ascending values that at least `part` of them do not exceed.
pub fn rank(count: usize, part: f64) -> Option<usize> {
    let place = (count as f64 * part).ceil() as usize;
    (count > 0).then(|| place.clamp(1, count) - 1)
}

#[cfg(test)]
mod unit {
    use std::time::Duration;

    use super::{Shape, rank, run, summary};

    #[test]
    fn ranks_are_those_of_the_nearest_value() {
        assert_eq!(rank(0, 0.5), None);
        assert_eq!(rank(1, 0.999), Some(0));
        assert_eq!(rank(100, 0.99), Some(98));
        assert_eq!(rank(1000, 0.999), Some(998));
        assert_eq!(rank(1000, 1.0), Some(999));
    }

    #[test]
    fn samples_become_microseconds() {
        let got = summary(
            (1..=1000).rev().map(|us| us * 1000).collect(),
            Duration::from_secs(2),
        );
        let got = got.expect("there are samples");
        assert!((got.p50_us - 500.0).abs() < 1e-9);
        assert!((got.p999_us - 999.0).abs() < 1e-9);
        assert!((got.requests_per_second - 500.0).abs() < 1e-9);
        assert_eq!(summary(Vec::new(), Duration::from_secs(1)), None);
    }

    #[test]
    fn workers_are_woken_and_the_run_ends() {
        let shape = Shape {
            messengers: 1,
            workers: 2,
            work_us: 100,
            think_us: 500,
            warmup: Duration::from_millis(20),
            window: Duration::from_millis(300),
        };
        let got = run(&shape).expect("it runs");
        assert!(got.count > 10, "{got:?}");
        assert!(got.p50_us > 0.0 && got.p50_us <= got.max_us, "{got:?}");
    }
}
