// SPDX-License-Identifier: GPL-2.0-only
//! Groups, with weights and quotas, with and without masks.
//! Never shares code with what it checks.

use proptest::prelude::*;

use super::oracle::judge;
use super::random::{Routing, SMALL, Size, demand_of, instance, shuffled};
use super::{Instance, assert_close};
use crate::entitlement::*;

const UNCONFINED: Size = Size { masks: 0, ..SMALL };
const TINY_GROUPS: Size = Size {
    cpus: 3,
    masks: 3,
    groups: 3,
    tasks: 5,
};

/// What everybody in a group could use.
fn demand(instance: &Instance, group: usize) -> f64 {
    let inside: f64 = children(instance, group).iter().map(|child| child.2).sum();
    inside.min(instance.groups[group].quota.max(0.0))
}

/// (task or group, weight, demand); a group is counted from the tasks on.
fn children(instance: &Instance, group: usize) -> Vec<(usize, f64, f64)> {
    let id = GroupId(group as u32);
    let tasks = instance.tasks.iter().enumerate();
    let tasks = tasks.filter(|(_, task)| task.group == id);
    let tasks = tasks.map(|(i, task)| (i, task.weight, demand_of(instance, i)));
    let groups = instance.groups.iter().enumerate().skip(1);
    let groups = groups.filter(|(_, group)| group.parent == id);
    let start = instance.tasks.len();
    let groups = groups.map(|(i, group)| (start + i, group.weight, demand(instance, i)));
    tasks.chain(groups).collect()
}

/// Splits what a group got among its children, by bisection, and so on.
fn split(instance: &Instance, group: usize, total: f64, shares: &mut [f64]) {
    let children = children(instance, group);
    let at = |level: f64| children.iter().map(move |&(i, w, d)| (i, d.min(level * w)));
    let (mut low, mut high) = (0.0, 1e3);
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        let used: f64 = at(middle).map(|(_, share)| share).sum();
        if used <= total {
            low = middle
        } else {
            high = middle
        }
    }
    for (i, share) in at(low) {
        match i.checked_sub(shares.len()) {
            None => shares[i] = share,
            Some(group) => split(instance, group, share, shares),
        }
    }
}

/// What the tasks in a group, and in the groups in it, got.
fn total(instance: &Instance, group: usize, shares: &[f64]) -> f64 {
    let of_child = |(i, _, _): (usize, f64, f64)| match i.checked_sub(shares.len()) {
        None => shares[i],
        Some(group) => total(instance, group, shares),
    };
    children(instance, group).into_iter().map(of_child).sum()
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::groups"))]

    #[test]
    fn without_masks_same_as_splitting_from_the_top(instance in instance(UNCONFINED)) {
        let capacity: f64 = instance.cpus.iter().map(|cpu| cpu.capacity).sum();
        let mut expected = vec![0.0; instance.tasks.len()];
        split(&instance, 0, capacity.min(demand(&instance, 0)), &mut expected);
        let out = instance.solve();
        for (share, expected) in out.shares.iter().zip(&expected) {
            prop_assert!((share - expected).abs() < 1e-8, "{:?} {expected:?}", out.shares);
        }
    }

    #[test]
    fn with_masks_same_as_raising_the_levels_of_each_group(instance in instance(TINY_GROUPS)) {
        let (out, verdict) = (instance.solve(), judge(&instance));
        for (share, expected) in out.shares.iter().zip(&verdict.shares) {
            prop_assert!((share - expected).abs() < 1e-6, "{out:?} {:?}", verdict.shares);
        }
        prop_assert!((out.total - verdict.most).abs() < 1e-8);
        prop_assert_eq!(&out.wanted, &verdict.wanted, "{:?}", out);
        for (group, expected) in verdict.totals.iter().enumerate() {
            prop_assert!((total(&instance, group, &out.shares) - expected).abs() < 1e-6);
        }
    }

    /// A group that a quota holds back is in the network from the start, others only
    /// once the group they are in is split.
    #[test]
    fn a_quota_that_takes_next_to_nothing_changes_nothing(instance in instance(SMALL)) {
        let mut other = instance.clone();
        for group in 1..instance.groups.len() {
            let quota = demand(&instance, group) * (1.0 - 1e-9);
            other.groups[group].quota = quota.min(other.groups[group].quota);
        }
        let (out, other) = (instance.solve(), other.solve());
        for (share, other) in out.shares.iter().zip(&other.shares) {
            prop_assert!((share - other).abs() < 1e-6, "{share} is not {other}");
        }
    }

    #[test]
    fn everything_stays_in_its_bounds(instance in instance(SMALL)) {
        let out = instance.solve();
        prop_assert!(Routing::find(&instance, &out.shares).is_some());
        prop_assert_eq!(out.wanted.len(), instance.cpus.len());
        for (i, task) in instance.tasks.iter().enumerate() {
            prop_assert!((0.0..=demand_of(&instance, i)).contains(&out.shares[i]));
            prop_assert!((out.shares[i] - task.demand.min(out.levels[i] * task.weight)).abs() < 1e-12);
        }
        for group in 0..instance.groups.len() {
            prop_assert!(total(&instance, group, &out.shares) <= demand(&instance, group) + 1e-9);
        }
    }

    /// Nothing that somebody could use is left over: there is room on a CPU
    /// only if whoever could get there has all that he, or his group, may have.
    #[test]
    fn room_is_left_only_by_the_satisfied(instance in instance(SMALL)) {
        let out = instance.solve();
        let routing = Routing::find(&instance, &out.shares).unwrap();
        for i in 0..instance.tasks.len() {
            let mut is_held_back = out.shares[i] > demand_of(&instance, i) - 1e-7;
            let mut group = instance.tasks[i].group.index();
            loop {
                let quota = instance.groups[group].quota;
                is_held_back |= total(&instance, group, &out.shares) > quota - 1e-7;
                if group == 0 { break }
                group = instance.groups[group].parent.index();
            }
            prop_assert!(is_held_back || routing.reach(&instance, i).1 < 1e-7);
        }
    }

    #[test]
    fn wanted_cpus_are_full(instance in instance(SMALL)) {
        let out = instance.solve();
        let mut wanted = instance.clone();
        wanted.cpus.retain(|cpu| {
            let at = instance.cpus.iter().position(|other| other.cpu == cpu.cpu);
            out.wanted[at.unwrap()]
        });
        // Fill up the others with tasks of their own: those on wanted CPUs
        // cannot move there any more, and still all of it is used.
        let capacity: f64 = wanted.cpus.iter().map(|cpu| cpu.capacity).sum();
        let used: f64 = confined_to(&instance, &wanted, &out.shares);
        prop_assert!((used - capacity).abs() < 1e-7, "{used} of {capacity}");
    }

    #[test]
    fn order_of_tasks_does_not_matter((instance, places) in shuffled(SMALL)) {
        let out = instance.solve();
        let mut other = instance.clone();
        other.tasks = places.iter().map(|&place| instance.tasks[place]).collect();
        let other = other.solve();
        for (at, &place) in places.iter().enumerate() {
            prop_assert!((other.shares[at] - out.shares[place]).abs() < 1e-9);
        }
        prop_assert_eq!(other.wanted, out.wanted);
        prop_assert_eq!(other.method, out.method);
    }

    #[test]
    fn units_of_weight_do_not_matter(instance in instance(SMALL), scale in 0.01..100.0f64) {
        let mut scaled = instance.clone();
        scaled.tasks.iter_mut().for_each(|task| task.weight *= scale);
        scaled.groups.iter_mut().for_each(|group| group.weight *= scale);
        let (out, scaled) = (instance.solve(), scaled.solve());
        assert_close(&scaled.shares, &out.shares);
        prop_assert_eq!(scaled.wanted, out.wanted);
    }

    #[test]
    fn scratch_memory_leaves_no_trace(first in instance(SMALL), second in instance(SMALL)) {
        let (mut solver, mut out) = (Solver::default(), Entitlements::default());
        solver.solve(&first.problem(), &mut out);
        solver.solve(&second.problem(), &mut out);
        prop_assert_eq!(out, second.solve());
    }

    #[test]
    fn more_capacity_takes_from_nobody(instance in instance(Size { groups: 0, ..UNCONFINED })) {
        let mut more = instance.clone();
        more.cpus[0].capacity += 0.5;
        for (after, before) in more.solve().shares.iter().zip(instance.solve().shares) {
            prop_assert!(*after >= before - 1e-9);
        }
    }
}

/// The most that could run on some of the CPUs, of what was given.
fn confined_to(instance: &Instance, wanted: &Instance, shares: &[f64]) -> f64 {
    let others = |cpu: &CpuId| wanted.cpus.iter().all(|other| other.cpu != *cpu);
    let may_leave = |task: &TaskClaim| {
        let mut cpus = instance.cpus.iter().map(|cpu| cpu.cpu);
        cpus.any(|cpu| others(&cpu) && instance.masks.contains(task.mask, cpu))
    };
    let tasks = instance.tasks.iter().zip(shares);
    tasks
        .filter(|(task, _)| !may_leave(task))
        .map(|(_, share)| share)
        .sum()
}

#[test]
fn what_a_satisfied_task_leaves_stays_in_its_group() {
    // Each group gets a CPU. In the first, one task wants little of it.
    let mut instance = Instance::new(2);
    let groups = [(); 2].map(|()| instance.group(GroupId::ROOT, 100.0, f64::INFINITY));
    instance.add(1, 100.0, 0.1, MaskId::ANYWHERE, groups[0]);
    instance.add(1, 100.0, 1.0, MaskId::ANYWHERE, groups[0]);
    instance.add(4, 100.0, 1.0, MaskId::ANYWHERE, groups[1]);
    let out = instance.solve();
    assert_close(&out.shares, &[0.1, 0.9, 0.25, 0.25, 0.25, 0.25]);
    assert_close(&out.levels[..3], &[0.009, 0.009, 0.0025]);
    assert_close(&[out.level], &[0.01]);
    assert_eq!((out.method, out.wanted), (Method::Groups, vec![true; 2]));
}

#[test]
fn quotas_inside_quotas() {
    let mut instance = Instance::new(8);
    let outer = instance.group(GroupId::ROOT, 100.0, 3.0);
    let inner = instance.group(outer, 100.0, 0.5);
    let loose = instance.group(outer, 100.0, 100.0);
    instance.add(2, 100.0, 1.0, MaskId::ANYWHERE, inner);
    instance.add(4, 100.0, 1.0, MaskId::ANYWHERE, loose);
    let out = instance.solve();
    assert_close(&out.shares, &[0.25, 0.25, 0.625, 0.625, 0.625, 0.625]);
    assert_eq!(out.level, f64::INFINITY);
    assert_eq!(out.wanted, [false; 8], "only quotas limit them");
}

#[test]
fn a_group_of_one_mask_beside_one_of_another() {
    // The first group is confined to CPU 0 and cannot use its half of both.
    let mut instance = Instance::new(3);
    let first = instance.mask([0]);
    let groups = [(); 2].map(|()| instance.group(GroupId::ROOT, 100.0, f64::INFINITY));
    instance.add(4, 100.0, 1.0, first, groups[0]);
    instance.add(4, 100.0, 1.0, MaskId::ANYWHERE, groups[1]);
    let out = instance.solve();
    assert_close(&out.shares, &[0.25, 0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5]);
    assert_eq!((out.method, out.wanted), (Method::Flow, vec![true; 3]));
}

#[test]
fn totals_of_groups_come_before_who_is_in_them() {
    // Both get a CPU. The second must take its own from CPU 1, as the first
    // can use CPU 0 only: its task that is confined to CPU 0 gets nothing.
    let mut instance = Instance::new(2);
    let masks = [0, 1].map(|cpu| instance.mask([cpu]));
    let groups = [(); 2].map(|()| instance.group(GroupId::ROOT, 100.0, f64::INFINITY));
    instance.add(2, 100.0, 1.0, masks[0], groups[0]);
    instance.add(1, 100.0, 1.0, masks[0], groups[1]);
    instance.add(1, 100.0, 1.0, masks[1], groups[1]);
    assert_close(&instance.solve().shares, &[0.5, 0.5, 0.0, 1.0]);
}

#[test]
fn trees_that_are_none() {
    // A parent that comes later, one that does not exist, a circle, a loop.
    let mut instance = Instance::new(1);
    let mut groups =
        [3, 77, 0, 5, 4, 6].map(|parent| instance.group(GroupId(parent), 100.0, f64::INFINITY));
    groups.reverse();
    for group in groups {
        instance.add(1, 100.0, 1.0, MaskId::ANYWHERE, group);
    }
    instance.add(1, 100.0, 1.0, MaskId::ANYWHERE, GroupId(99));
    let out = instance.solve();
    // In the root: groups 2, 3, 4, 5, 6 and the last task; group 1 is in 3.
    let sixth = 1.0 / 6.0;
    assert_close(
        &out.shares,
        &[sixth, sixth, sixth, sixth / 2.0, sixth, sixth / 2.0, sixth],
    );
}
