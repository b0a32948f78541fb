// SPDX-License-Identifier: GPL-2.0-only
//! How property tests are run: how many cases, and from which seed.
//! Never hides the seed: it is printed whether or not the test fails.

use std::io::Write;

use proptest::test_runner::{Config, RngSeed};

/// Cases of a property. A rare case, one in a thousand, is then met ten times.
const CASES: u32 = 10_000;

/// The settings for the properties of `module`. `BALLAST_SEED=n` repeats the
/// run that printed n; otherwise each run has a seed of its own.
pub fn config(module: &str) -> Config {
    let seed = std::env::var("BALLAST_SEED")
        .ok()
        .map(|text| text.parse().expect("BALLAST_SEED is a whole number"))
        .unwrap_or_else(fresh_seed);
    // Written, not println!ed: the test harness would swallow it.
    let _ = writeln!(
        std::io::stderr(),
        "{module}: {CASES} cases, repeat with BALLAST_SEED={seed}"
    );
    Config {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    }
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since_epoch| since_epoch.as_nanos() as u64)
}
