// SPDX-License-Identifier: GPL-2.0-only
//! What is kept and repaired instead of made anew: claims in buckets, classes.
//! Never compares with anything but the same thing made anew.

use proptest::prelude::*;

use super::random::{SMALL, Size, instance, weight};
use super::{Instance, claim};
use crate::entitlement::fill::Filler;
use crate::entitlement::ladder::Ladder;
use crate::entitlement::*;

fn claims() -> impl Strategy<Value = Vec<(usize, Claim)>> {
    let demand = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64, 0.0..1e-6f64];
    let one = (0..4usize, weight(), demand);
    let one = one.prop_map(|(list, weight, demand)| (list, claim(weight, demand)));
    // Enough for several buckets.
    prop::collection::vec(one, 1..300)
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::kept"))]

    #[test]
    fn ladders_find_the_level_of_the_fill(claims in claims(), part in 0.0..1.0f64, from in 0.0..1.0f64) {
        let mut ladder = Ladder::default();
        // The last list is left out.
        let size = |list| claims.iter().filter(|claim| claim.0 == list).count() as u32;
        ladder.build(claims.iter().copied(), &[size(0), size(1), size(2)]);
        let all: Vec<Claim> = claims.iter().filter(|c| c.0 < 3).map(|c| c.1).collect();
        let demand: f64 = all.iter().map(|claim| claim.demand).sum();
        let amount = 0.999 * part * demand;
        let fill = Filler::default().fill(&all, amount, &mut Vec::new());
        prop_assume!(fill.is_limited());
        for low in [0.0, from * fill.level, fill.level] {
            let level = ladder.level(0..3, amount, low);
            prop_assert!((level - fill.level).abs() <= 1e-9 * fill.level, "{level} {}", fill.level);
        }
        for number in 0..3 {
            let sum = ladder.at(number, fill.level);
            let got = sum.met + fill.level * sum.limited;
            let own = claims.iter().filter(|c| c.0 == number).map(|c| c.1);
            let expected: f64 = own.map(|c| c.demand.min(fill.level * c.weight)).sum();
            prop_assert!((got - expected).abs() < 1e-9);
        }
    }

    /// After a round in which masks stood in the way another order is tried.
    #[test]
    fn the_second_round_is_the_first_again(instance in instance(SMALL)) {
        let (mut solver, mut out) = (Solver::default(), Entitlements::default());
        for _ in 0..3 {
            solver.solve(&instance.problem(), &mut out);
            prop_assert_eq!(&out, &instance.solve());
        }
    }

    /// In a group, levels are those of unsorted claims until masks divide it;
    /// without groups, all claims are in a ladder.
    #[test]
    fn a_group_around_all_changes_nothing(flat in instance(Size { groups: 0, ..SMALL })) {
        let mut grouped = flat.clone();
        let group = grouped.group(GroupId::ROOT, 100.0, f64::INFINITY);
        grouped.tasks.iter_mut().for_each(|task| task.group = group);
        let (flat, grouped) = (flat.solve(), grouped.solve());
        for (a, b) in flat.shares.iter().zip(&grouped.shares) {
            prop_assert!((a - b).abs() < 1e-9, "{a} is not {b}");
        }
        prop_assert_eq!(flat.wanted, grouped.wanted);
    }

    /// The classes of the last round are right for the next only if masks and
    /// CPUs are the same.
    #[test]
    fn a_machine_that_changes_a_little_is_solved_anew(
        first in instance(SMALL), changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4u32, 0.0..1.0f64), 1..5),
    ) {
        let (mut solver, mut out) = (Solver::default(), Entitlements::default());
        let mut instance = first;
        for (index, what, value) in changes {
            solver.solve(&instance.problem(), &mut out);
            let cpu = index.index(instance.cpus.len());
            match what {
                0 => instance.cpus[cpu].capacity = value,
                1 => instance.cpus[cpu].cpu = CpuId(1000),
                2 if !instance.tasks.is_empty() => {
                    let task = index.index(instance.tasks.len());
                    instance.tasks[task].demand = value;
                    instance.tasks[task].mask = instance.mask([cpu as u32 * 3]);
                }
                _ => instance.groups.truncate(1),
            }
            solver.solve(&instance.problem(), &mut out);
            prop_assert_eq!(&out, &instance.solve());
        }
    }
}

#[test]
fn thousands_of_masks_on_thousands_of_cpus() {
    let mut instance = Instance::new(2048);
    let mut number = 1u64;
    for task in 0..2000 {
        let mut next = || {
            number = number.wrapping_mul(6364136223846793005).wrapping_add(1);
            (number >> 33) as u32
        };
        let size = 1 << (next() % 10);
        let mask: Vec<u32> = (0..size).map(|_| next() % 512).collect();
        let mask = instance.mask(mask);
        instance.add(2, f64::from(1 + task % 9), 1.0, mask, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_eq!(out.method, Method::Flow);
    assert!((out.total - 512.0).abs() < 1e-6, "{}", out.total);
    for (task, share) in instance.tasks.iter().zip(&out.shares) {
        assert!((0.0..=task.demand).contains(share));
    }
}
