// SPDX-License-Identifier: GPL-2.0-only
//! Tasks confined to sets of CPUs, in one group.
//! Never shares code with what it checks.

use proptest::prelude::*;

use super::oracle::judge;
use super::random::{Routing, SMALL, Size, TINY, demand_of, instance, weight};
use super::{Instance, assert_close};
use crate::entitlement::*;

const FLAT: Size = Size { groups: 0, ..SMALL };

/// A set of CPUs from the first on, by the sets inside it.
#[derive(Debug)]
struct Nested {
    cpus: std::ops::Range<u32>,
    mask: MaskId,
}

/// The sets of a machine of 8 CPUs: itself, halves, quarters, single CPUs.
fn nested(instance: &mut Instance) -> Vec<Nested> {
    let mut sets = Vec::new();
    for size in [8, 4, 2, 1] {
        for first in (0..8).step_by(size as usize) {
            let cpus = first..first + size;
            let mask = instance.mask(cpus.clone());
            sets.push(Nested { cpus, mask });
        }
    }
    sets
}

/// The level of every set; the lowest is frozen; and so on.
fn fill_nested(instance: &Instance, sets: &[Nested]) -> Vec<f64> {
    let mut shares: Vec<Option<f64>> = vec![None; instance.tasks.len()];
    let inside = |set: &Nested, task: &TaskClaim| {
        let own = sets.iter().find(|own| own.mask == task.mask).unwrap();
        set.cpus.start <= own.cpus.start && own.cpus.end <= set.cpus.end
    };
    while shares.contains(&None) {
        let level_of = |set: &Nested| {
            let all = instance.tasks.iter().zip(&shares);
            let (mut free, mut left) = (Vec::new(), set.cpus.len() as f64);
            for (task, share) in all.filter(|(task, _)| inside(set, task)) {
                match share {
                    Some(share) => left -= share,
                    None => free.push(*task),
                }
            }
            level(&free, left)
        };
        let levels = sets.iter().map(|set| (level_of(set), set));
        let (level, set) = levels.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        for (task, share) in instance.tasks.iter().zip(&mut shares) {
            if share.is_none() && (inside(set, task) || level.is_infinite()) {
                *share = Some(task.demand.min(level * task.weight));
            }
        }
    }
    shares.into_iter().flatten().collect()
}

/// One pot, by bisection.
fn level(tasks: &[TaskClaim], capacity: f64) -> f64 {
    let used = |level: f64| {
        tasks
            .iter()
            .map(|t| t.demand.min(level * t.weight))
            .sum::<f64>()
    };
    if used(1e9) <= capacity + 1e-12 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (0.0, 4.0);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if used(middle) > capacity {
            high = middle
        } else {
            low = middle
        }
    }
    low
}

/// Sums of CPUs that the tasks of some masks may use, by trying all.
fn most_by_hall(instance: &Instance) -> f64 {
    let mut most = f64::INFINITY;
    for taken in 0..1u32 << instance.cpus.len() {
        let is_taken = |cpu: usize| taken >> cpu & 1 != 0;
        let capacity: f64 = instance
            .cpus
            .iter()
            .enumerate()
            .filter(|(cpu, _)| is_taken(*cpu))
            .map(|(_, cpu)| cpu.capacity)
            .sum();
        let inside = |task: &TaskClaim| {
            let may = |cpu: usize| instance.masks.contains(task.mask, instance.cpus[cpu].cpu);
            (0..instance.cpus.len()).all(|cpu| is_taken(cpu) || !may(cpu))
        };
        let demand: f64 = instance
            .tasks
            .iter()
            .filter(|task| !inside(task))
            .map(|task| task.demand)
            .sum();
        most = most.min(capacity + demand);
    }
    most
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::masks"))]

    /// Whoever gets less than he could use can take from nobody but those who
    /// get less for their weight already, however long the chain.
    #[test]
    fn nobody_can_rise_at_the_cost_of_somebody_better_off(instance in instance(FLAT)) {
        let out = instance.solve();
        let routing = Routing::find(&instance, &out.shares);
        prop_assert!(routing.is_some(), "not feasible");
        let routing = routing.unwrap();
        for (i, task) in instance.tasks.iter().enumerate() {
            let c = out.shares[i];
            prop_assert!((0.0..=demand_of(&instance, i)).contains(&c));
            prop_assert!((c - task.demand.min(out.levels[i] * task.weight)).abs() < 1e-12);
            if c < demand_of(&instance, i) - 1e-8 {
                let (others, room) = routing.reach(&instance, i);
                prop_assert!(room < 1e-8, "{i} leaves room");
                for j in others {
                    let (mine, theirs) = (c / task.weight, out.shares[j] / instance.tasks[j].weight);
                    prop_assert!(theirs < mine + 1e-7, "{i} at {mine} could take from {j} at {theirs}");
                }
            }
        }
    }

    /// Hall: for each set of CPUs, what is confined to it gets at most that.
    #[test]
    fn all_that_can_be_given_is_given(instance in instance(Size { cpus: 6, tasks: 20, ..FLAT })) {
        let out = instance.solve();
        prop_assert!((out.total - most_by_hall(&instance)).abs() < 1e-9);
        prop_assert!((out.total - out.shares.iter().sum::<f64>()).abs() < 1e-12);
    }

    #[test]
    fn same_as_raising_all_levels_together(instance in instance(TINY)) {
        let (out, verdict) = (instance.solve(), judge(&instance));
        for (share, expected) in out.shares.iter().zip(&verdict.shares) {
            prop_assert!((share - expected).abs() < 1e-6, "{out:?} {:?}", verdict.shares);
        }
        prop_assert_eq!(&out.wanted, &verdict.wanted, "{:?}", out);
    }

    #[test]
    fn nested_sets_are_a_tree_to_fill(
        tasks in prop::collection::vec((weight(), prop_oneof![Just(1.0), 0.01..1.0f64], 0..15usize), 0..40),
    ) {
        let mut instance = Instance::new(8);
        let sets = nested(&mut instance);
        for (weight, demand, set) in tasks {
            instance.add(1, weight, demand, sets[set].mask, GroupId::ROOT);
        }
        let expected = fill_nested(&instance, &sets);
        for (share, expected) in instance.solve().shares.iter().zip(&expected) {
            prop_assert!((share - expected).abs() < 1e-8);
        }
    }

    /// The level of the machine is what one more task in the root would find.
    #[test]
    fn the_level_is_that_of_one_more(mut instance in instance(FLAT)) {
        let out = instance.solve();
        // So light that it changes nothing.
        let weight = 1e-9;
        instance.add(1, weight, 1.0, MaskId::ANYWHERE, GroupId::ROOT);
        let level = instance.solve().shares.last().unwrap() / weight;
        if out.level.is_finite() {
            prop_assert!((level - out.level).abs() < 1e-4 * level + 1e-4, "{level} {}", out.level);
        } else if instance.cpus.iter().map(|cpu| cpu.capacity).sum::<f64>() > out.total + 1e-6 {
            prop_assert!(level > 1e3, "{level} {}", out.level);
        }
    }
}

#[test]
fn a_pinned_task_leaves_the_others_the_rest() {
    // Without the pin all five would get 0.4.
    let mut instance = Instance::new(2);
    let first = instance.mask([0]);
    instance.add(4, 100.0, 1.0, first, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, MaskId::ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.25, 0.25, 0.25, 0.25, 1.0]);
    assert_eq!((out.method, out.level), (Method::Flow, f64::INFINITY));
    assert_close(&out.levels[..4], &[0.0025; 4]);
    assert_eq!(out.wanted, [true, false]);
}

#[test]
fn a_chain_of_masks_passes_need_on() {
    // Each pair overlaps the next by a CPU: all must share alike.
    let mut instance = Instance::new(5);
    for first in 0..4 {
        let mask = instance.mask([first, first + 1]);
        instance.add(3, 100.0, 1.0, mask, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_close(&out.shares, &[5.0 / 12.0; 12]);
    assert_eq!((out.method, out.wanted), (Method::Fill, vec![true; 5]));
}

#[test]
fn who_is_displaced_wants_cpus_elsewhere() {
    // Two on CPU 0 push the one that may use CPUs 0 and 1 to CPU 1, which so
    // is wanted although nobody on it gets less than he can use.
    let mut instance = Instance::new(3);
    let (first, pair) = (instance.mask([0]), instance.mask([0, 1]));
    instance.add(2, 100.0, 0.6, first, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, pair, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.5, 0.5, 1.0]);
    assert_eq!(out.wanted, [true, false, false]);
    instance.add(1, 100.0, 1.0, pair, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.5; 4]);
    assert_eq!(out.wanted, [true, true, false]);
}
