// SPDX-License-Identifier: GPL-2.0-only
//! The checks bite: each seeded defect fails one that is named for it.
//! Never weakens a check for a defect: what is not caught within the seeds fails here.

use ballast_sim::object::{DEFECTS, Defect};
use ballast_sim::run::{Options, run};
use ballast_sim::scenario::Scenario;
use ballast_sim::swarm::{minimise, run_seed, scenario};

const SEEDS: u64 = 200;

fn defect(name: &str) -> &'static Defect {
    let found = DEFECTS.iter().find(|defect| defect.name == name);
    found.expect("a defect of that name")
}

/// The first seed at which a check named for the defect fails, and which.
fn caught(defect: &'static Defect) -> Option<(u64, &'static str)> {
    (1..=SEEDS).find_map(|seed| {
        let failed = run_seed(seed, Some(defect)).expect("runs").failed;
        let named = defect
            .caught_by
            .iter()
            .find(|check| failed.contains_key(**check));
        named.map(|check| (seed, *check))
    })
}

#[test]
fn every_seeded_defect_is_caught_by_the_check_named_for_it() {
    assert!(DEFECTS.len() >= 10);
    for defect in DEFECTS {
        let found = caught(defect);
        println!("{}: {found:?}", defect.name);
        assert!(
            found.is_some(),
            "{} is not caught in {SEEDS} seeds",
            defect.name
        );
    }
}

#[test]
fn a_scheduler_that_is_ejected_at_once_is_not_judged_by_shares() {
    let defect = defect("taken-back-where-it-may-not-run");
    let mut ejected_early = 0;
    for seed in 1..=SEEDS {
        let outcome = run_seed(seed, Some(defect)).expect("runs");
        let steady_from_s = scenario(seed).checks.steady_from_s;
        if outcome.failed.contains_key("kernel") && steady_from_s > Some(outcome.seconds) {
            assert!(
                !outcome.failed.contains_key("lag"),
                "{:?}",
                outcome.failures
            );
            ejected_early += 1;
        }
    }
    assert!(
        ejected_early > 0,
        "none was ejected before its load was steady"
    );
}

#[test]
fn a_failing_seed_fails_the_same_way_again_and_can_be_made_smaller() {
    let defect = defect("lag-reset-on-move");
    let (seed, check) = caught(defect).expect("caught");
    let text = |_| {
        run_seed(seed, Some(defect)).expect("runs").failures[0]
            .text
            .clone()
    };
    assert_eq!(text(0), text(1));
    let (smallest, runs) = minimise(&scenario(seed), check, Some(defect)).expect("runs");
    let tasks = |one: &Scenario| one.tasks.iter().map(|group| group.count).sum::<u32>();
    assert!(tasks(&smallest) < tasks(&scenario(seed)) && runs > 1);
    let options = Options {
        defect: Some(defect),
        ..Options::default()
    };
    let failed = run(&smallest, options).expect("runs").outcome.failed;
    assert!(failed.contains_key(check), "{failed:?}");
}
