// SPDX-License-Identifier: GPL-2.0-only
//! The checks bite: each seeded defect fails one that is named for it.
//! Never weakens a check for a defect: what is not caught within the seeds fails here.

use ballast_sim::object::DEFECTS;
use ballast_sim::run::{Options, run};
use ballast_sim::scenario::Scenario;
use ballast_sim::swarm::{minimise, run_seed, scenario};

const SEEDS: u64 = 200;

/// The first seed at which a check named for the defect fails, and which.
fn caught(defect: &'static ballast_sim::object::Defect) -> Option<(u64, &'static str)> {
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
fn a_failing_seed_fails_the_same_way_again_and_can_be_made_smaller() {
    let defect = DEFECTS
        .iter()
        .find(|defect| defect.name == "lag-reset-on-move");
    let defect = defect.expect("a defect of that name");
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
