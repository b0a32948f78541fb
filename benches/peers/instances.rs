// SPDX-License-Identifier: GPL-2.0-only
//! Machines and tasks to compare on: named cases and random ones.
//! Never random between runs: the same seed makes the same instance.

use std::collections::BTreeMap;

use scx_ballast::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};
use scx_ballast::load_balance::{Domain, Node, Snapshot, Task};
use scx_ballast::weight::weight_of_nice;

use crate::sequence::Sequence;

/// `nodes` nodes of `domains` domains of `cpus` CPUs each, every other node at
/// distance 21.
pub fn machine(nodes: u32, domains: u32, cpus: u32) -> Snapshot {
    let node = |id: u32| Node {
        id: NodeId(id),
        distance: (0..nodes)
            .map(|to| (NodeId(to), if to == id { 10 } else { 21 }))
            .collect::<BTreeMap<_, _>>(),
    };
    let domain = |id: u32| Domain {
        id: DomainId(id),
        node: NodeId(id / domains),
        capacity: f64::from(cpus),
        cpus: (cpus * id..cpus * id + cpus).map(CpuId).collect(),
    };
    Snapshot {
        nodes: (0..nodes).map(node).collect(),
        domains: (0..nodes * domains).map(domain).collect(),
        ..Snapshot::default()
    }
}

/// Adds a task with a process of its own.
fn add(snapshot: &mut Snapshot, weight: f64, demand: f64, domain: u32) {
    let slot = snapshot.tasks.len() as u32;
    snapshot.tasks.push(Task {
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
    });
}

/// Adds `count` equal tasks.
pub fn crowd(snapshot: &mut Snapshot, count: usize, nice: i32, demand: f64, domain: u32) {
    for _ in 0..count {
        add(snapshot, weight_of_nice(nice), demand, domain);
    }
}

/// A busy machine with 16 to 32 tasks a domain of random weight and demand;
/// half of them crowd the first node if `crowded`.
pub fn random(seed: u64, nodes: u32, domains: u32, crowded: bool) -> Snapshot {
    let mut sequence = Sequence(seed);
    let mut snapshot = machine(nodes, domains, 4);
    let all = u64::from(nodes * domains);
    let count = all * (16 + sequence.below(17));
    for _ in 0..count {
        let weight = weight_of_nice(sequence.below(11) as i32 - 5);
        let demand = if sequence.below(2) == 0 {
            1.0
        } else {
            sequence.part()
        };
        let among = if crowded && sequence.below(2) == 0 {
            u64::from(domains)
        } else {
            all
        };
        let domain = sequence.below(among) as u32;
        add(&mut snapshot, weight, demand, domain);
    }
    snapshot
}
