// SPDX-License-Identifier: GPL-2.0-only
//! The swarm: random machines, tasks and faults, all rules kept, equal runs equal.
//! Never retries: a seed that fails once is a failure.

use ballast_sim::swarm::{run_seed, scenario};

#[test]
fn two_hundred_seeds_keep_every_rule() {
    let mut failures = Vec::new();
    for seed in 1..=200 {
        let outcome = run_seed(seed, None).expect("runs");
        assert!(outcome.events > 1000, "seed {seed} did nothing");
        for failure in outcome.failures {
            failures.push(format!("seed {seed}: {} {}", failure.check, failure.text));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

#[test]
fn a_seed_gives_the_same_run_twice_and_another_seed_another() {
    let hash = |seed| run_seed(seed, None).expect("runs").hash;
    let mut hashes = Vec::new();
    for seed in 1..=30 {
        let first = hash(seed);
        assert_eq!(first, hash(seed), "seed {seed}");
        hashes.push(first);
    }
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 30);
}

#[test]
fn a_scenario_survives_being_written_down() {
    for seed in 1..=50 {
        let text = toml::to_string(&scenario(seed)).expect("TOML");
        let read = ballast_sim::scenario::parse(&text).expect("a good scenario");
        assert_eq!(toml::to_string(&read).expect("TOML"), text);
    }
}
