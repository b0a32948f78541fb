// SPDX-License-Identifier: GPL-2.0-only
//! The cases at the edge of what a problem can be.
//! Never random.

use super::{Instance, ROOT, assert_close};
use crate::entitlement::*;

const ANYWHERE: MaskId = MaskId::ANYWHERE;

fn assert_satisfied(out: &Entitlements) {
    assert_eq!(out.level, f64::INFINITY);
    assert!(
        out.levels.iter().all(|level| level.is_infinite()),
        "{out:?}"
    );
    assert!(!out.wanted.contains(&true), "{out:?}");
}

#[test]
fn no_tasks() {
    let out = Instance::new(4).solve();
    assert_satisfied(&out);
    assert_eq!((out.total, out.wanted), (0.0, vec![false; 4]));
}

#[test]
fn nobody_wants_anything() {
    let mut instance = Instance::new(4);
    let mask = instance.mask([1]);
    instance.add(3, 100.0, 0.0, ANYWHERE, GroupId::ROOT);
    instance.add(3, 100.0, 0.0, mask, GroupId::ROOT);
    let out = instance.solve();
    assert_satisfied(&out);
    assert_eq!(out.shares, [0.0; 6]);
}

#[test]
fn one_cpu() {
    let mut instance = Instance::new(1);
    let mask = instance.mask([0]);
    instance.add(1, 300.0, 1.0, ANYWHERE, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, mask, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.75, 0.25]);
    assert_eq!((out.method, out.wanted), (Method::Fill, vec![true]));
}

#[test]
fn no_cpus() {
    let mut instance = Instance::new(0);
    let mask = instance.mask([0]);
    let group = instance.group(GroupId::ROOT, 100.0, 1.0);
    instance.add(2, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    instance.add(2, 100.0, 1.0, mask, group);
    let out = instance.solve();
    assert_eq!(
        (&out.shares[..], &out.levels[..]),
        (&[0.0; 4][..], &[0.0; 4][..])
    );
    assert_eq!((out.level, out.total, out.wanted.len()), (0.0, 0.0, 0));
}

#[test]
fn cpus_without_capacity() {
    let mut instance = Instance::new(3);
    instance.cpus[0].capacity = 0.0;
    instance.cpus[1].capacity = f64::NAN;
    let mask = instance.mask([0, 1]);
    instance.add(2, 100.0, 1.0, mask, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    assert_eq!(out.shares, [0.0, 0.0, 1.0]);
    assert_eq!(out.levels, [0.0, 0.0, f64::INFINITY]);
    assert_eq!(
        out.wanted,
        [true, true, false],
        "they could use them if there were any"
    );
    assert_eq!(out.method, Method::Flow);
    // Nothing but such CPUs.
    instance.cpus.truncate(2);
    let out = instance.solve();
    assert_eq!((out.shares, out.level), (vec![0.0; 3], 0.0));
}

#[test]
fn masks_without_cpus() {
    let mut instance = Instance::new(2);
    let (empty, elsewhere) = (instance.mask([]), instance.mask([5, 700]));
    instance.add(1, 100.0, 1.0, empty, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, elsewhere, GroupId::ROOT);
    instance.add(1, 100.0, 1.0, MaskId(99), GroupId::ROOT);
    instance.add(2, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    assert_eq!(out.shares, [0.0, 0.0, 0.0, 1.0, 1.0]);
    assert_eq!(out.levels[..3], [0.0; 3]);
    assert_eq!((out.wanted, out.method), (vec![false; 2], Method::Fill));
    // Nobody else is there.
    instance.tasks.truncate(3);
    let out = instance.solve();
    assert_eq!((out.shares, out.wanted), (vec![0.0; 3], vec![false; 2]));
}

#[test]
fn anywhere_is_the_mask_of_all_cpus() {
    let mut instance = Instance::new(70);
    let all = instance.mask(0..70);
    let more = instance.mask(0..200);
    for mask in [ANYWHERE, all, more] {
        instance.add(40, 100.0, 1.0, mask, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_close(&out.shares, &[70.0 / 120.0; 120]);
    assert_eq!((out.method, out.wanted), (Method::Fill, vec![true; 70]));
}

#[test]
fn a_part_of_the_machine_that_nobody_may_use() {
    let mut instance = Instance::new(4);
    let half = instance.mask([0, 1]);
    instance.add(4, 100.0, 1.0, half, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.5; 4]);
    assert_eq!((out.level, out.method), (f64::INFINITY, Method::Flow));
    assert_eq!(out.wanted, [true, true, false, false]);
}

#[test]
fn weights_at_the_ends() {
    let mut instance = Instance::new(2);
    instance.add(1, 1.0, 1.0, ANYWHERE, GroupId::ROOT);
    instance.add(2, 10_000.0, 1.0, ANYWHERE, GroupId::ROOT);
    assert_close(
        &instance.solve().shares,
        &[2.0 / 20_001.0, 0.999_950_002_499_875, 0.999_950_002_499_875],
    );
    // All but one are infeasible.
    instance.tasks.truncate(2);
    instance.add(1, 1.0, 1.0, ANYWHERE, GroupId::ROOT);
    assert_close(&instance.solve().shares, &[0.5, 1.0, 0.5]);
}

#[test]
fn all_weights_are_infeasible() {
    // As many as CPUs: each gets one, whatever its weight.
    let mut instance = Instance::new(3);
    for weight in [1.0, 100.0, 10_000.0] {
        instance.add(1, weight, 1.0, ANYWHERE, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_eq!(out.shares, [1.0; 3]);
    assert_satisfied(&out);
    // On a CPU each, with another that nobody else wants.
    let mut instance = Instance::new(4);
    for (cpu, weight) in (0..).zip([1.0, 100.0, 10_000.0]) {
        let mask = instance.mask([cpu]);
        instance.add(1, weight, 1.0, mask, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_eq!(out.shares, [1.0; 3]);
    assert_satisfied(&out);
}

#[test]
fn weights_beyond_reason() {
    let mut instance = Instance::new(1);
    let mask = instance.mask([0]);
    for weight in [1e-90, 1e90, 1e-90] {
        instance.add(1, weight, 0.5, mask, GroupId::ROOT);
    }
    assert_close(&instance.solve().shares, &[0.25, 0.5, 0.25]);
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE] {
        instance.add(1, weight, 0.5, mask, GroupId::ROOT);
    }
    assert_close(
        &instance.solve().shares,
        &[0.25, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0, 0.0],
    );
}

#[test]
fn demands_beyond_reason() {
    let mut instance = Instance::new(2);
    let mask = instance.mask([0]);
    for demand in [f64::NAN, -1.0, f64::INFINITY, 1e200] {
        instance.add(1, 100.0, demand, mask, GroupId::ROOT);
    }
    assert_eq!(instance.solve().shares, [0.0; 4]);
    for mask in [mask, ANYWHERE] {
        instance.add(1, 100.0, 1e90, mask, GroupId::ROOT);
    }
    assert_close(&instance.solve().shares[4..], &[1.0, 1.0]);
}

#[test]
fn a_quota_of_nothing() {
    for quota in [0.0, -1.0, f64::NAN] {
        let mut instance = Instance::new(2);
        let mask = instance.mask([0]);
        let group = instance.group(GroupId::ROOT, 100.0, quota);
        instance.add(2, 100.0, 1.0, ANYWHERE, group);
        instance.add(2, 100.0, 1.0, mask, group);
        instance.add(1, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
        let out = instance.solve();
        assert_eq!(out.shares, [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(out.levels[..4], [0.0; 4]);
        assert_eq!(out.wanted, [false; 2]);
    }
}

#[test]
fn a_quota_above_everything() {
    let mut instance = Instance::new(1);
    let group = instance.group(GroupId::ROOT, 100.0, 1e30);
    instance.add(2, 100.0, 1.0, ANYWHERE, group);
    let out = instance.solve();
    assert_close(&out.shares, &[0.5, 0.5]);
    assert_eq!(out.wanted, [true]);
}

#[test]
fn a_quota_of_the_root() {
    let mut instance = Instance::new(4);
    instance.groups[0].quota = 1.0;
    instance.add(4, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.25; 4]);
    assert_eq!((out.method, out.wanted), (Method::Fill, vec![false; 4]));
}

#[test]
fn empty_groups_and_weights_of_groups_that_make_no_sense() {
    let mut instance = Instance::new(1);
    let empty = instance.group(GroupId::ROOT, 1e6, f64::INFINITY);
    instance.group(empty, 1e6, f64::INFINITY);
    let bad = instance.group(GroupId::ROOT, f64::NAN, f64::INFINITY);
    instance.add(1, 100.0, 1.0, ANYWHERE, bad);
    instance.add(2, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares, &[0.0, 0.5, 0.5]);
    assert_eq!(out.levels[0], 0.0);
}

#[test]
fn no_groups_is_a_root() {
    let mut instance = Instance::new(1);
    instance.add(2, 100.0, 1.0, ANYWHERE, GroupId::ROOT);
    let with = instance.solve();
    assert_eq!(instance.groups, [ROOT]);
    instance.groups.clear();
    assert_eq!(instance.solve(), with);
}

#[test]
fn exactly_full_is_not_short() {
    // Every CPU has as many pinned tasks of 0.1 as fit, and all get it.
    let mut instance = Instance::new(8);
    for cpu in 0..8 {
        let mask = instance.mask([cpu]);
        instance.add(10, 1.0 + f64::from(cpu), 0.1, mask, GroupId::ROOT);
    }
    let out = instance.solve();
    assert_eq!(out.shares, [0.1; 80]);
    assert_satisfied(&out);
    // One more on CPU 3 takes nothing from the others.
    let mask = instance.mask([3]);
    instance.add(1, 4.0, 0.1, mask, GroupId::ROOT);
    let out = instance.solve();
    assert_close(&out.shares[30..40], &[1.0 / 11.0; 10]);
    assert_eq!(out.shares[..30], [0.1; 30]);
    let wanted: Vec<bool> = (0..8).map(|cpu| cpu == 3).collect();
    assert_eq!(out.wanted, wanted);
}

#[test]
fn a_deep_tree() {
    // Deeper than a stack would be with a call for each group.
    let mut instance = Instance::new(2);
    let mask = instance.mask([0]);
    let mut group = GroupId::ROOT;
    for _ in 0..20_000 {
        group = instance.group(group, 100.0, f64::INFINITY);
    }
    instance.add(1, 100.0, 1.0, mask, group);
    instance.add(3, 100.0, 1.0, ANYWHERE, group);
    assert_close(&instance.solve().shares, &[0.5; 4]);
}

#[test]
fn many_pinned_and_one_wide() {
    // Each CPU's own task has another weight, so that each has another level.
    let mut instance = Instance::new(1024);
    for cpu in 0..1024 {
        let mask = instance.mask([cpu]);
        let weight = 1.02f64.powi(cpu as i32);
        instance.add(2, weight, 1.0, mask, GroupId::ROOT);
    }
    instance.add(1, 1.0, 1.0, ANYWHERE, GroupId::ROOT);
    let out = instance.solve();
    // The wide one takes from the CPUs of the lightest, and all alike there.
    assert!((out.total - 1024.0).abs() < 1e-7);
    assert_eq!(out.method, Method::Flow);
    let wide = out.shares[2048];
    let taken: f64 = (0..1024).map(|cpu| 1.0 - 2.0 * out.shares[2 * cpu]).sum();
    assert!((wide - taken).abs() < 1e-7, "{wide} {taken}");
}
