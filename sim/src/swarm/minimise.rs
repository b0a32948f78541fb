// SPDX-License-Identifier: GPL-2.0-only
//! Makes a failing scenario smaller, as long as it fails the same check.
//! Never changes the seed: what is left is replayed with the same numbers.

use anyhow::Result;

use crate::object::Defect;
use crate::run::{Options, run};
use crate::scenario::{Faults, Scenario, validate};

/// The smallest scenario found that still fails `check`, and the runs it took.
///
/// # Errors
/// See [`run`].
pub fn minimise(
    scenario: &Scenario,
    check: &str,
    defect: Option<&'static Defect>,
) -> Result<(Scenario, usize)> {
    let mut best = scenario.clone();
    let mut runs = 0;
    loop {
        let mut smaller = None;
        for candidate in candidates(&best) {
            runs += 1;
            let options = Options {
                seed: Some(best.seed),
                defect,
                ..Options::default()
            };
            if run(&candidate, options)?.outcome.failed.contains_key(check) {
                smaller = Some(candidate);
                break;
            }
        }
        match smaller {
            Some(candidate) => best = candidate,
            None => return Ok((best, runs)),
        }
    }
}

/// Scenarios that are a step smaller, the largest steps first.
fn candidates(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Scenario)| {
        let mut candidate = scenario.clone();
        change(&mut candidate);
        // What is printed in the end has to be a scenario.
        if validate(&candidate).is_ok() {
            all.push(candidate);
        }
    };
    if !scenario.faults.is_quiet() {
        with(&|one| one.faults = Faults::default());
    }
    for nth in 0..scenario.tasks.len() {
        with(&|one| {
            one.tasks.remove(nth);
        });
    }
    if !scenario.cgroups.is_empty() {
        with(&|one| {
            one.cgroups.clear();
            one.tasks.iter_mut().for_each(|group| group.cgroup = None);
        });
    }
    for nth in 0..FAULTS {
        if *fault(&mut scenario.faults.clone(), nth) != 0.0 {
            with(&|one| *fault(&mut one.faults, nth) = 0.0);
        }
    }
    if scenario.faults.stall_at_s.is_some() {
        with(&|one| (one.faults.stall_at_s, one.faults.stall_for_s) = (None, 0.0));
    }
    if scenario.faults.restart_at_s.is_some() {
        with(&|one| one.faults.restart_at_s = None);
    }
    if !scenario.flags.is_empty() {
        with(&|one| one.flags.clear());
    }
    for nth in 0..scenario.tasks.len() {
        if scenario.tasks[nth].count > 2 {
            with(&|one| one.tasks[nth].count /= 2);
        }
    }
    if scenario.costs.clock_skew_ns > 0 {
        with(&|one| one.costs.clock_skew_ns = 0);
    }
    if scenario.seconds > 0.2 {
        with(&|one| one.seconds *= 0.7);
    }
    all
}

const FAULTS: usize = 12;

fn fault(faults: &mut Faults, nth: usize) -> &mut f64 {
    let all: [&mut f64; FAULTS] = [
        &mut faults.hotplug_per_s,
        &mut faults.affinity_per_s,
        &mut faults.weight_per_s,
        &mut faults.regroup_per_s,
        &mut faults.rt_per_s,
        &mut faults.migration_disabled_per_s,
        &mut faults.late_kicks,
        &mut faults.lost_kicks,
        &mut faults.torn_rows,
        &mut faults.stale_requests_per_s,
        &mut faults.failed_allocations,
        &mut faults.requeues,
    ];
    all.into_iter().nth(nth).expect("below FAULTS")
}
