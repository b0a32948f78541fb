// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the planner: named cases, properties of random machines, turns.
//! Never trusts the planner's own sums: loads are added up again here.

mod cases;
mod confined;
mod properties;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};
use crate::weight::weight_of_nice;

const EPSILON: f64 = 1e-5;

/// The CPUs of a domain here, whatever its capacity.
fn cpus_of(domain: u32) -> std::ops::Range<u32> {
    4 * domain..4 * domain + 4
}

/// Domains as (node, capacity); every remote node is at 21.
fn machine(domains: &[(u32, f64)]) -> Snapshot {
    let ids: BTreeSet<u32> = domains.iter().map(|&(node, _)| node).collect();
    let distance = |from: u32| {
        ids.iter()
            .map(|&to| (NodeId(to), if to == from { 10 } else { 21 }))
            .collect()
    };
    Snapshot {
        nodes: ids
            .iter()
            .map(|&id| Node {
                id: NodeId(id),
                distance: distance(id),
            })
            .collect(),
        domains: (0..)
            .zip(domains)
            .map(|(id, &(node, capacity))| Domain {
                id: DomainId(id),
                node: NodeId(node),
                capacity,
                cpus: cpus_of(id).map(CpuId).collect(),
            })
            .collect(),
        ..Snapshot::default()
    }
}

/// A task with a process of its own that may go anywhere.
pub(crate) fn task(slot: u32, weight: f64, demand: f64, domain: u32) -> Task {
    Task {
        id: u64::from(slot),
        task: TaskRef {
            slot,
            generation: 1,
        },
        process: slot,
        weight,
        demand,
        domain: DomainId(domain),
        mask: MaskId::ANYWHERE,
        group: GroupId::ROOT,
        movable: true,
        preferred_nodes: 0,
        moved_ago_rounds: u32::MAX,
        lag_ms: 0.0,
    }
}

impl Snapshot {
    /// Adds `count` tasks of one kind.
    fn with(mut self, count: usize, nice: i32, demand: f64, domain: u32) -> Self {
        for _ in 0..count {
            let slot = self.tasks.len() as u32;
            self.tasks
                .push(task(slot, weight_of_nice(nice), demand, domain));
        }
        self
    }

    fn applied(&self, plan: &Plan, moved_ago_rounds: u32) -> Self {
        let mut next = self.clone();
        for mv in &plan.moves {
            let task = &mut next.tasks[mv.index];
            task.domain = mv.to;
            if moved_ago_rounds == 0 {
                task.moved_ago_rounds = 0;
            }
        }
        next
    }

    fn loads(&self, entitlements: &[f64]) -> Vec<f64> {
        let mut loads = vec![0.0; self.domains.len()];
        for (task, c) in self.tasks.iter().zip(entitlements) {
            if let Some(load) = loads.get_mut(task.domain.index()) {
                *load += c;
            }
        }
        loads
    }

    /// The mask of the domains whose bits are set.
    fn confine(&mut self, domains: u64) -> MaskId {
        let cpus = (0..64)
            .filter(|domain| domains >> domain & 1 != 0)
            .flat_map(cpus_of);
        self.masks.intern_cpus(cpus.map(CpuId))
    }

    fn may_use(&self, task: &Task, domain: DomainId) -> bool {
        self.domains[domain.index()]
            .cpus
            .iter()
            .any(|&cpu| self.masks.contains(task.mask, cpu))
    }

    fn node_of(&self, domain: DomainId) -> NodeId {
        self.domains[domain.index()].node
    }
}

fn planned(snapshot: &Snapshot) -> Plan {
    plan(snapshot, &Config::default())
}

/// Whatever must cross nodes may do so at once, and once more.
fn at_once() -> Config {
    Config {
        cross_node_part: 2.0,
        ..Config::default()
    }
}

fn count_on(snapshot: &Snapshot, domain: u32) -> usize {
    snapshot
        .tasks
        .iter()
        .filter(|task| task.domain == DomainId(domain))
        .count()
}

fn assert_settled(snapshot: &Snapshot, plan: &Plan) {
    for moved_ago_rounds in [0, u32::MAX] {
        let again = planned(&snapshot.applied(plan, moved_ago_rounds));
        assert_eq!(again.moves, [], "a second plan moves again");
    }
}
