// SPDX-License-Identifier: GPL-2.0-only
//! What costs are measured in: sorting as many pairs, and one pass over as many
//! rows, timed in the same run.
//! Never compares with numbers from another run or machine.

use std::hint::black_box;
use std::time::{Duration, Instant};

use scx_ballast::abi::ballast_row;

/// Timings of which the least counts: what is longer was disturbed by others.
const RUNS: usize = 25;

/// The least time of several runs, each on fresh input.
pub fn least<T>(input: impl FnMut() -> T, run: impl FnMut(T)) -> Duration {
    least_both(input, run, || ()).0
}

/// The least times of two things that take turns: what disturbs one for long
/// disturbs the other.
pub fn least_both<T>(
    mut input: impl FnMut() -> T,
    mut first: impl FnMut(T),
    mut second: impl FnMut(),
) -> (Duration, Duration) {
    let mut times = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        let fresh = input();
        let start = Instant::now();
        first(fresh);
        times.0 = times.0.min(start.elapsed());
        let start = Instant::now();
        second();
        times.1 = times.1.min(start.elapsed());
    }
    times
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
