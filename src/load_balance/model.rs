// SPDX-License-Identifier: GPL-2.0-only
//! What is planned on: the machine and its tasks at one instant.
//! Never changes while a plan is made.

use std::collections::BTreeMap;

use crate::affinity::MaskTable;
use crate::entitlement::Group;
use crate::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};

/// The machine and its tasks at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Nodes, with or without CPUs, in any order.
    pub nodes: Vec<Node>,
    /// Domains; their ids are 0, 1, 2, …
    pub domains: Vec<Domain>,
    /// The sets of CPUs that tasks are confined to.
    pub masks: MaskTable,
    /// Control groups, the root first; none: only the root.
    pub groups: Vec<Group>,
    /// Tasks, in any order.
    pub tasks: Vec<Task>,
}

/// A NUMA node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node.
    pub id: NodeId,
    /// SLIT distances, 10 for the node itself. A missing remote one counts as
    /// 20, the kernel's default.
    pub distance: BTreeMap<NodeId, u32>,
}

/// A domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The domain.
    pub id: DomainId,
    /// The node its CPUs belong to.
    pub node: NodeId,
    /// CPUs it can hand out, evenly spread over `cpus`. 0 (or not a number):
    /// its tasks must leave.
    pub capacity: f64,
    /// Its CPUs.
    pub cpus: Vec<CpuId>,
}

/// A task that could be moved or that at least takes up capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// What people call it: its thread id, or the id in a file.
    pub id: u64,
    /// The task's row. Must be unique.
    pub task: TaskRef,
    /// Process id (tgid): threads of one process are best kept together.
    pub process: u32,
    /// Weight, nice 0 = 100.
    pub weight: f64,
    /// CPUs it could use, 0..=1.
    pub demand: f64,
    /// Where it is. A task in an unknown domain has an entitlement, but counts
    /// for no domain and is not moved.
    pub domain: DomainId,
    /// The CPUs it may use.
    pub mask: MaskId,
    /// The control group it is in.
    pub group: GroupId,
    /// Whether it may be moved at all.
    pub movable: bool,
    /// Bit n: its memory policy prefers node n (n < 64). 0: no preference.
    pub preferred_nodes: u64,
    /// Rounds since it was last moved; `u32::MAX`: never.
    pub moved_ago_rounds: u32,
    /// CPU time the machine still owes it, in ms; below 0: it is ahead.
    pub lag_ms: f64,
}
