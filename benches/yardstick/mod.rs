// SPDX-License-Identifier: GPL-2.0-only
//! What costs are measured in: sorting as many pairs, and one pass over as many
//! rows, timed in the same run.
//! Never compares with numbers from another run or machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use scx_ballast::abi::ballast_row;

/// Timings of which the median is taken.
const RUNS: usize = 15;

/// Median time of several runs, each on fresh input.
pub fn median<T>(mut input: impl FnMut() -> T, mut run: impl FnMut(T)) -> Duration {
    let mut times: Vec<Duration> = (0..RUNS)
        .map(|_| {
            let fresh = input();
            let start = Instant::now();
            run(fresh);
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Two medians, of runs that take turns: what disturbs one disturbs the other.
pub fn medians<T>(
    mut input: impl FnMut() -> T,
    mut yard: impl FnMut(T),
    mut run: impl FnMut(),
) -> (Duration, Duration) {
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        let fresh = input();
        let start = Instant::now();
        yard(fresh);
        times[0].push(start.elapsed());
        let start = Instant::now();
        run();
        times[1].push(start.elapsed());
    }
    let [yard, run] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    (yard, run)
}

/// Sorts pairs by the first of each.
pub fn sort(mut pairs: Vec<(f64, u32)>) {
    pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    black_box(pairs);
}

/// One pass over the rows: the least that reading them can cost.
pub fn pass(rows: &[ballast_row]) {
    let sum = rows
        .iter()
        .fold(0u64, |sum, row| sum.wrapping_add(row.run_ns));
    black_box(sum);
}

/// `part` as a multiple of `whole`.
pub fn ratio(part: Duration, whole: Duration) -> f64 {
    part.as_secs_f64() / whole.as_secs_f64()
}
