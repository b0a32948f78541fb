// SPDX-License-Identifier: GPL-2.0-only
//! Nested masks, of which those that stand in nobody's way are merged with others.
//! Never looks at what is merged, but at what comes of it.

use proptest::prelude::*;

use super::Instance;
use super::oracle::judge;
use super::random::{SMALL, Size, instance};
use crate::entitlement::*;

const TINY: Size = Size {
    cpus: 4,
    masks: 0,
    groups: 3,
    tasks: 6,
};

/// Tasks are confined to CPUs, pairs of them, fours or eights.
fn nested(size: Size) -> impl Strategy<Value = Instance> {
    let sets = prop::collection::vec((0..4u32, 0..size.cpus), size.tasks);
    let machine = instance(Size { masks: 0, ..size });
    (machine, sets).prop_map(|(mut instance, sets)| {
        for (at, (halvings, cpu)) in (0..instance.tasks.len()).zip(sets) {
            let size = 8 >> halvings;
            let first = cpu / size * size;
            // Every third id is that of a CPU.
            instance.tasks[at].mask = instance.mask((first..first + size).map(|cpu| 3 * cpu));
        }
        instance
    })
}

/// The same with two tasks that want nothing, on sets that are not nested: nothing
/// can be merged.
fn with_crossing_masks(instance: &Instance) -> Instance {
    let mut other = instance.clone();
    for cpus in [[0, 1], [1, 2]] {
        let mask = other.mask(cpus.map(|cpu| 3 * cpu));
        other.add(1, 1.0, 0.0, mask, GroupId::ROOT);
    }
    other
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::nested"))]

    #[test]
    fn same_as_raising_the_levels_of_each_group(instance in nested(TINY)) {
        let (out, verdict) = (instance.solve(), judge(&instance));
        for (share, expected) in out.shares.iter().zip(&verdict.shares) {
            prop_assert!((share - expected).abs() < 1e-6, "{out:?} {:?}", verdict.shares);
        }
        prop_assert_eq!(&out.wanted, &verdict.wanted, "{:?}", out);
    }

    #[test]
    fn masks_that_are_not_merged_give_the_same(instance in nested(SMALL)) {
        let (merged, other) = (instance.solve(), with_crossing_masks(&instance).solve());
        for (share, other) in merged.shares.iter().zip(&other.shares) {
            prop_assert!((share - other).abs() < 1e-9, "{share} is not {other}");
        }
        prop_assert_eq!(merged.wanted, other.wanted);
        prop_assert_eq!(merged.level.is_finite(), other.level.is_finite());
    }

    /// What is merged changes with what tasks want.
    #[test]
    fn wants_that_change_are_solved_anew(instance in nested(SMALL), part in 0.0..1.0f64) {
        let (mut solver, mut out) = (Solver::default(), Entitlements::default());
        let mut less = instance.clone();
        less.tasks.iter_mut().for_each(|task| task.demand *= part);
        for instance in [&instance, &less, &instance] {
            solver.solve(&instance.problem(), &mut out);
            prop_assert_eq!(&out, &instance.solve());
        }
    }
}

#[test]
fn who_may_use_other_cpus_makes_room_inside_a_set() {
    // The pair has room for the one confined to it: he is as good as anywhere.
    let mut instance = Instance::new(4);
    let pair = instance.mask([0, 1]);
    let group = instance.group(GroupId::ROOT, 100.0, f64::INFINITY);
    instance.add(2, 100.0, 1.0, pair, group);
    instance.add(6, 100.0, 1.0, MaskId::ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    let share = 4.0 / 7.0;
    super::assert_close(&out.shares[..3], &[share / 2.0, share / 2.0, share]);
    assert_eq!((out.method, out.wanted), (Method::Groups, vec![true; 4]));
}
