// SPDX-License-Identifier: GPL-2.0-only
//! That a domain which shares by these weights pays what everybody is owed.
//! Never needs a kernel.

use proptest::prelude::*;

use super::*;
use crate::affinity::MaskTable;
use crate::cgroups::ROOT;
use crate::entitlement::{Group, fill};
use crate::ids::{CpuId, DomainId, GroupId, NodeId};
use crate::load_balance::tests::task;
use crate::load_balance::{self, Domain, Node, Task};

/// Weight, demand and group of each task.
type Tasks = Vec<(f64, f64, u32)>;

fn snapshot(groups: Vec<Group>, tasks: &Tasks, capacity: f64) -> Snapshot {
    let task = |(slot, &(weight, demand, group)): (u32, &(f64, f64, u32))| Task {
        group: GroupId(group),
        ..task(slot, weight, demand, 0)
    };
    let cpus = capacity.ceil() as u32;
    Snapshot {
        nodes: vec![Node {
            id: NodeId(0),
            distance: [(NodeId(0), 10)].into(),
        }],
        domains: vec![Domain {
            id: DomainId(0),
            node: NodeId(0),
            capacity,
            cpus: (0..cpus).map(CpuId).collect(),
        }],
        masks: MaskTable::default(),
        groups,
        tasks: (0..).zip(tasks).map(task).collect(),
    }
}

/// What each task is charged by.
fn weights(snapshot: &Snapshot, plan: &Plan) -> Vec<f64> {
    let reference = Charger::default().reference(snapshot, plan);
    let tasks = snapshot.tasks.iter().zip(&plan.levels);
    tasks
        .map(|(task, &level)| {
            let told = weight(task.weight, task.demand, level, reference);
            told.unwrap_or(task.weight)
        })
        .collect()
}

fn group(parent: u32, weight: f64, quota: f64) -> Group {
    Group {
        parent: GroupId(parent),
        weight,
        quota,
    }
}

fn plan(snapshot: &Snapshot) -> Plan {
    load_balance::plan(snapshot, &load_balance::Config::default())
}

#[test]
fn the_limit_is_the_weight_of_one_cpu() {
    // Nice −20 beside 15 of nice 0 on 8 CPUs: λ = 7 / 1500.
    let level = 7.0 / 1500.0;
    let most = weight(8668.0, 1.0, level, level).expect("infeasible");
    assert!((most * level - 1.0).abs() < 1e-12);
    assert_eq!(weight(100.0, 1.0, level, level), None);
    assert_eq!(weight(8668.0, 1.0, f64::INFINITY, f64::INFINITY), None);
    assert_eq!(weight(8668.0, 1.0, 0.0, 0.0), None);
}

#[test]
fn small_changes_are_not_told() {
    assert!(!differs(Some(100.0), Some(101.0)));
    assert!(differs(Some(100.0), Some(103.0)));
    assert!(differs(None, Some(1.0)) && differs(Some(1.0), None) && !differs(None, None));
}

#[test]
fn two_groups_of_different_size_share_by_their_weights() {
    // 16 tasks in a group of weight 100, 8 in one of 300, on 8 CPUs: 2 and 6 CPUs.
    let groups = vec![
        ROOT,
        group(0, 100.0, f64::INFINITY),
        group(0, 300.0, f64::INFINITY),
    ];
    let tasks: Tasks = (0..24)
        .map(|at| (100.0, 1.0, 1 + u32::from(at >= 16)))
        .collect();
    let snapshot = snapshot(groups, &tasks, 8.0);
    let weights = weights(&snapshot, &plan(&snapshot));
    // Without groups each is owed 1/3. They are owed 1/8 and 3/4.
    assert!((weights[0] - 37.5).abs() < 1e-9, "{weights:?}");
    assert!((weights[23] - 225.0).abs() < 1e-9, "{weights:?}");
}

#[test]
fn a_task_that_its_group_has_room_for_may_double_its_demand() {
    let groups = vec![ROOT, group(0, 1000.0, f64::INFINITY)];
    let mut tasks: Tasks = vec![(100.0, 1.0, 0); 16];
    tasks.push((1.46, 0.3, 1));
    let snapshot = snapshot(groups, &tasks, 8.0);
    let plan = plan(&snapshot);
    assert!(plan.levels[16].is_infinite() && plan.level.is_finite());
    let weights = weights(&snapshot, &plan);
    let reference = Charger::default().reference(&snapshot, &plan);
    assert!((weights[16] * reference - 0.6).abs() < 1e-9, "{weights:?}");
}

#[test]
fn with_room_for_all_groups_change_nothing() {
    let groups = vec![ROOT, group(0, 1.0, 0.5)];
    let tasks: Tasks = vec![(100.0, 1.0, 1), (8668.0, 1.0, 1), (15.0, 1.0, 0)];
    let snapshot = snapshot(groups, &tasks, 8.0);
    assert_eq!(weights(&snapshot, &plan(&snapshot)), [100.0, 8668.0, 15.0]);
}

fn any_weight() -> impl Strategy<Value = f64> {
    let nice = -20..=19i32;
    prop_oneof![Just(100.0), nice.prop_map(crate::weight::weight_of_nice)]
}

fn any_demand() -> impl Strategy<Value = f64> {
    prop_oneof![Just(1.0), Just(0.0), 0.0..=1.0]
}

fn any_groups() -> impl Strategy<Value = Vec<Group>> {
    let quota = prop_oneof![3 => Just(f64::INFINITY), 1 => 0.01..8.0f64];
    let one = (0..6u32, prop_oneof![Just(100.0), 0.29..10_000.0f64], quota);
    prop::collection::vec(one, 1..6).prop_map(|list| {
        let groups = (0..).zip(list).map(|(at, (parent, weight, quota))| {
            // Inside one that comes before it.
            group(parent % (at + 1), weight, quota)
        });
        [ROOT].into_iter().chain(groups).collect()
    })
}

fn any_tasks(groups: u32) -> impl Strategy<Value = Tasks> {
    prop::collection::vec((any_weight(), any_demand(), 0..groups), 1..40)
}

proptest! {
    #![proptest_config(crate::seeds::config("daemon::charge"))]

    #[test]
    fn sharing_by_weight_gives_what_is_owed(
        groups in any_groups(),
        tasks in any_tasks(6),
        part in 0.05..1.1f64,
    ) {
        let tasks: Tasks = tasks
            .into_iter()
            .map(|(weight, demand, group)| (weight, demand, group % groups.len() as u32))
            .collect();
        let demand: f64 = tasks.iter().map(|(_, demand, _)| demand).sum();
        let snapshot = snapshot(groups, &tasks, part * demand);
        let plan = plan(&snapshot);
        let weights = weights(&snapshot, &plan);
        if plan.level.is_infinite() {
            let own: Vec<f64> = tasks.iter().map(|(weight, ..)| *weight).collect();
            prop_assert_eq!(weights, own);
            return Ok(());
        }
        let claims = tasks.iter().zip(&weights);
        let claims: Vec<Claim> = claims
            .map(|(&(_, demand, _), &weight)| Claim { weight, demand })
            .collect();
        // What quotas leave over is not the tasks'.
        let owed: f64 = plan.entitlements.iter().sum();
        let mut shares = Vec::new();
        fill(&claims, owed, &mut shares);
        for (at, (share, owed)) in shares.iter().zip(&plan.entitlements).enumerate() {
            prop_assert!((share - owed).abs() < 1e-6, "task {at}: {share}, owed {owed}");
        }
        let reference = Charger::default().reference(&snapshot, &plan);
        if reference.is_finite() {
            for &weight in &weights {
                prop_assert!(reference * weight <= 1.0 + 1e-9, "{weight} asks for more than a CPU");
            }
        }
    }

    #[test]
    fn without_groups_only_a_cpu_is_the_limit(
        tasks in any_tasks(1),
        capacity in 0.5..16.0f64,
        root in any::<bool>(),
    ) {
        let snapshot = snapshot(if root { vec![ROOT] } else { vec![] }, &tasks, capacity);
        let plan = plan(&snapshot);
        let limit = 1.0 / plan.level;
        for (weight, task) in weights(&snapshot, &plan).iter().zip(&tasks) {
            let expected = if plan.level.is_finite() { task.0.min(limit) } else { task.0 };
            prop_assert_eq!(*weight, expected);
        }
    }
}
