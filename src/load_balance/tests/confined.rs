// SPDX-License-Identifier: GPL-2.0-only
//! What masks, groups and budgets change, and the reasons a plan gives.
//! Never leaves a reason untested.

use super::*;
use crate::entitlement::Group;

#[test]
fn room_that_nobody_can_use_is_no_fault() {
    // 12 tasks confined to one of two nodes: the other is idle, and fair.
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(12, 0, 1.0, 0);
    let confined = snapshot.confine(0b01);
    for task in &mut snapshot.tasks {
        task.mask = confined;
    }
    let plan = planned(&snapshot);
    assert!((plan.entitlements[0] - 4.0 / 12.0).abs() < 1e-9);
    assert_eq!(plan.moves, []);
    assert!(plan.certificate.imbalance_after < EPSILON);
    assert_eq!(plan.certificate.remains, Remains::Nothing);
}

#[test]
fn the_free_make_room_for_the_confined() {
    // 4 confined tasks and 4 free ones share a node: the free ones go, all of them.
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(8, 0, 1.0, 0);
    let confined = snapshot.confine(0b01);
    for task in &mut snapshot.tasks[..4] {
        task.mask = confined;
    }
    let plan = planned(&snapshot);
    assert_eq!(plan.entitlements, [1.0; 8]);
    let moved: BTreeSet<usize> = plan.moves.iter().map(|mv| mv.index).collect();
    assert_eq!(moved, BTreeSet::from([4, 5, 6, 7]));
    assert_settled(&snapshot, &plan);
}

#[test]
fn groups_decide_what_is_owed() {
    // Two groups of equal weight, 12 tasks in one and 4 in the other.
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)])
        .with(12, 0, 1.0, 0)
        .with(4, 0, 1.0, 1);
    let group = Group {
        parent: GroupId::ROOT,
        weight: 100.0,
        quota: f64::INFINITY,
    };
    snapshot.groups = vec![group; 3];
    for task in &mut snapshot.tasks {
        task.group = GroupId(if task.task.slot < 12 { 1 } else { 2 });
    }
    let plan = planned(&snapshot);
    assert!((plan.entitlements[0] - 4.0 / 12.0).abs() < 1e-9);
    assert_eq!(plan.entitlements[15], 1.0);
    assert_eq!(plan.moves, []);
    // With half a machine as quota the other group gets no more than that.
    snapshot.groups[2].quota = 2.0;
    let plan = planned(&snapshot);
    assert!((plan.entitlements[15] - 0.5).abs() < 1e-9);
    assert!(!plan.moves.is_empty());
    assert!(
        plan.certificate.imbalance_after < 0.3,
        "{:?}",
        plan.certificate
    );
}

#[test]
fn what_crosses_nodes_has_a_budget() {
    let snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(8, 0, 1.0, 0);
    let thrifty = Config {
        cross_node_part: 0.25,
        ..Config::default()
    };
    let plan = plan(&snapshot, &thrifty);
    assert_eq!(plan.moves.len(), 2);
    assert_eq!(plan.certificate.remains, Remains::Budget);
    // Inside a node it does not bind.
    let inside = machine(&[(0, 4.0), (0, 4.0)]).with(8, 0, 1.0, 0);
    assert_eq!(super::plan(&inside, &thrifty).moves.len(), 4);
}

#[test]
fn moves_that_masks_force_are_in_the_certificate() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0)]).with(2, 0, 1.0, 0);
    let confined = snapshot.confine(0b10);
    for task in &mut snapshot.tasks {
        task.mask = confined;
    }
    let certificate = planned(&snapshot).certificate;
    assert_eq!(
        (certificate.moves_min, certificate.cross_node_min),
        (2, 2.0)
    );
    // Inside a node nothing has to cross.
    snapshot.domains[1].node = NodeId(0);
    let certificate = planned(&snapshot).certificate;
    assert_eq!(
        (certificate.moves_min, certificate.cross_node_min),
        (2, 0.0)
    );
}

#[test]
fn nearly_all_that_is_owed_may_cross_at_once() {
    let snapshot = machine(&[(0, 0.5), (1, 3.25)]).with(8, 0, 1.0, 0);
    let plan = planned(&snapshot);
    assert_eq!(plan.moves.len(), 7);
    assert_settled(&snapshot, &plan);
}

#[test]
fn a_budget_does_not_stand_in_the_way_for_ever() {
    let mut snapshot = machine(&[(0, 4.0), (1, 4.0), (2, 4.0), (3, 4.0)]).with(16, 0, 1.0, 0);
    let thrifty = Config {
        cross_node_part: 0.25,
        ..Config::default()
    };
    for _ in 0..3 {
        snapshot = snapshot.applied(&plan(&snapshot, &thrifty), u32::MAX);
    }
    assert!((0..4).all(|domain| count_on(&snapshot, domain) == 4));
}

#[test]
fn a_plan_says_why_something_remains() {
    let two = || machine(&[(0, 4.0), (1, 4.0)]);
    let remains = |snapshot: &Snapshot| planned(snapshot).certificate.remains;
    assert_eq!(remains(&two().with(8, 0, 1.0, 0)), Remains::Nothing);
    assert_eq!(remains(&two().with(15, 0, 1.0, 0)), Remains::Granularity);
    let crowd = two().with(401, 0, 1.0, 0);
    assert_eq!(remains(&crowd), Remains::WithinBand);

    let mut confined = two().with(5, 0, 1.0, 0).with(1, 0, 1.0, 1);
    let mask = confined.confine(0b01);
    for task in &mut confined.tasks[..5] {
        task.movable = false;
        task.mask = mask;
    }
    // Five confined to four CPUs are owed four: nothing is wrong with that.
    assert_eq!(remains(&confined), Remains::Nothing);
    for task in &mut confined.tasks {
        task.mask = MaskId::ANYWHERE;
    }
    assert_eq!(remains(&confined), Remains::Confined);

    let mut resting = two().with(5, 0, 1.0, 0);
    for task in &mut resting.tasks {
        task.moved_ago_rounds = 0;
    }
    assert_eq!(remains(&resting), Remains::Resting);

    let off = Config {
        enabled: false,
        ..Config::default()
    };
    let off = plan(&two().with(8, 0, 1.0, 0), &off);
    assert_eq!(off.certificate.remains, Remains::Disabled);
}

#[test]
fn memory_of_an_older_plan_changes_nothing() {
    let snapshots = [
        machine(&[(0, 4.0), (1, 4.0)]).with(100, 0, 0.5, 0),
        machine(&[(0, 4.0)]).with(3, 0, 1.0, 0),
        machine(&[(0, 2.0), (0, 2.0), (2, 2.0), (5, 2.0)]).with(24, 5, 1.0, 3),
        Snapshot::default(),
        machine(&[(3, 4.0), (1, 4.0), (2, 1.0)]).with(30, -3, 0.7, 2),
    ];
    let (mut planner, mut again) = (Planner::default(), Plan::default());
    for snapshot in snapshots.iter().chain(snapshots.iter().rev()) {
        planner.plan(snapshot, &Config::default(), &mut again);
        assert_eq!(again, planned(snapshot));
    }
}
