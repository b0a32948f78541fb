// SPDX-License-Identifier: GPL-2.0-only
//! The same shares as published algorithms, where those are right.
//! Never says that they are right elsewhere: it shows where they are not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use scx_utils::LoadAggregator;

use super::{assert_close, claim};
use crate::entitlement::*;
use crate::weight::weight_of_nice;

/// Weight readjustment as in Surplus Fair Scheduling: visit the threads from
/// the heaviest; while one asks for more than one of the remaining CPUs, give
/// it exactly one.
fn surplus_fair_readjustment(weights: &[f64], cpus: usize) -> Vec<f64> {
    let mut by_weight: Vec<usize> = (0..weights.len()).collect();
    by_weight.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
    let mut shares = vec![0.0; weights.len()];
    let mut cpus_left = cpus as f64;
    let mut start = 0;
    while start < by_weight.len() && cpus_left > 0.0 {
        let rest: f64 = by_weight[start..].iter().map(|&i| weights[i]).sum();
        if weights[by_weight[start]] / rest <= 1.0 / cpus_left {
            break;
        }
        shares[by_weight[start]] = 1.0;
        cpus_left -= 1.0;
        start += 1;
    }
    let rest: f64 = by_weight[start..].iter().map(|&i| weights[i]).sum();
    for &i in &by_weight[start..] {
        shares[i] = cpus_left * weights[i] / rest;
    }
    shares
}

/// What scx_utils gives each claim: of the machine, its part of the load, which
/// is demand times a weight that is cut at a maximum.
fn aggregator(weights: &[usize], demands: &[f64], cpus: usize) -> Vec<f64> {
    let mut by_weight = BTreeMap::new();
    for (&weight, &demand) in weights.iter().zip(demands) {
        *by_weight.entry(weight).or_insert(0.0) += demand;
    }
    let mut aggregator = LoadAggregator::new(cpus, false);
    for (weight, demand) in by_weight {
        aggregator.record_dom_load(0, weight, demand).unwrap();
    }
    let ledger = aggregator.calculate();
    let weight = |weight: usize| (weight as f64).min(ledger.effective_max_weight());
    let load = |(&w, &demand): (&usize, &f64)| weight(w) * demand;
    let part = |claim| load(claim) / ledger.global_load_sum() * cpus as f64;
    weights.iter().zip(demands).map(part).collect()
}

fn exact(weights: &[usize], demands: &[f64], cpus: usize) -> Vec<f64> {
    let claims = weights.iter().zip(demands);
    let claims: Vec<Claim> = claims.map(|(&w, &d)| claim(w as f64, d)).collect();
    let mut shares = Vec::new();
    fill(&claims, cpus as f64, &mut shares);
    shares
}

#[test]
fn the_aggregator_counts_demand_twice() {
    // The level is 0.005: both can have half of the CPU. It gives the one that
    // wants half of it less than that, because it wants half.
    let (weights, demands) = ([100, 100], [1.0, 0.5]);
    assert_close(&exact(&weights, &demands, 1), &[0.5, 0.5]);
    assert_close(&aggregator(&weights, &demands, 1), &[2.0 / 3.0, 1.0 / 3.0]);
}

#[test]
fn the_aggregator_gives_up_on_a_machine_with_room() {
    // 1.1 CPUs are wanted and there are 2.
    let (weights, demands) = ([1, 10_000], [0.1, 1.0]);
    assert_close(&exact(&weights, &demands, 2), &demands);
    let given = aggregator(&weights, &demands, 2);
    assert!(
        (given[0] - 2e-5).abs() < 1e-6 && given[1] > 1.9,
        "{given:?}"
    );
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::peers"))]

    #[test]
    fn same_as_surplus_fair_readjustment(
        (cpus, weights) in (1..16usize).prop_flat_map(|cpus| {
            let weight = (-20..20i32).prop_map(weight_of_nice);
            (Just(cpus), prop::collection::vec(weight, cpus + 1..50))
        }),
    ) {
        let claims: Vec<Claim> = weights.iter().map(|&w| claim(w, 1.0)).collect();
        let mut entitlements = Vec::new();
        fill(&claims, cpus as f64, &mut entitlements);
        assert_close(&entitlements, &surplus_fair_readjustment(&weights, cpus));
    }

    /// With every d = 1 and more claims than CPUs. Its tolerance of 0.0001 in
    /// weights does not matter: whole weights come no closer to the level.
    #[test]
    fn same_as_the_aggregator_for_spinners(
        (cpus, weights) in (1..16usize).prop_flat_map(|cpus| {
            (Just(cpus), prop::collection::vec(1..10_000usize, cpus + 1..50))
        }),
    ) {
        let demands = vec![1.0; weights.len()];
        assert_close(&aggregator(&weights, &demands, cpus), &exact(&weights, &demands, cpus));
    }
}
