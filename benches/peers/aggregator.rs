// SPDX-License-Identifier: GPL-2.0-only
//! What scx_utils' LoadAggregator gives each task, in CPUs.
//! Never corrects it: the load it computes is taken as the share it means.

use std::collections::BTreeMap;

use scx_ballast::entitlement::Claim;
use scx_utils::LoadAggregator;

/// Capacity in proportion to load, load being weight (cut to the effective
/// greatest) times demand. Weights are whole numbers above 0.
pub fn shares(claims: &[Claim], nr_cpus: usize) -> Vec<f64> {
    let mut aggregator = LoadAggregator::new(nr_cpus, false);
    let mut demands = BTreeMap::<usize, f64>::new();
    for claim in claims {
        *demands.entry(claim.weight as usize).or_default() += claim.demand;
    }
    for (weight, demand) in demands {
        // Each weight is recorded once, and is above 0.
        let _ = aggregator.record_dom_load(0, weight, demand);
    }
    let ledger = aggregator.calculate();
    let most = ledger.effective_max_weight();
    let per_load = nr_cpus as f64 / ledger.global_load_sum();
    claims
        .iter()
        .map(|claim| claim.weight.min(most) * claim.demand * per_load)
        .collect()
}
