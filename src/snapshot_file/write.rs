// SPDX-License-Identifier: GPL-2.0-only
//! Writing a snapshot file.
//! Never writes what `read` would refuse: what the form cannot express is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{MAX_WEIGHT, Names};
use crate::affinity::MaskTable;
use crate::cgroups::ROOT_PATH;
use crate::cpulist::format_cpus;
use crate::ids::{CpuId, GroupId, MaskId, NodeId};
use crate::load_balance::{Snapshot, Task};

/// A snapshot in the form of a file.
#[derive(Debug, Serialize)]
pub struct File<'a> {
    topology: Topology<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<GroupEntry<'a>>,
    tasks: Vec<TaskEntry<'a>>,
}

#[derive(Debug, Serialize)]
struct Topology<'a> {
    nodes: Vec<NodeEntry<'a>>,
    domains: Vec<DomainEntry>,
}

#[derive(Debug, Serialize)]
struct NodeEntry<'a> {
    id: NodeId,
    distance: &'a BTreeMap<NodeId, u32>,
}

#[derive(Debug, Serialize)]
struct DomainEntry {
    id: u64,
    node: NodeId,
    cpus: String,
    capacity: f64,
}

#[derive(Debug, Serialize)]
struct GroupEntry<'a> {
    path: &'a str,
    weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    quota: Option<f64>,
}

#[derive(Debug, Serialize)]
struct TaskEntry<'a> {
    id: u64,
    weight: f64,
    demand: f64,
    domain: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpus: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<&'a str>,
    process: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    preferred_nodes: Vec<NodeId>,
}

/// Turns a snapshot into a file.
#[derive(Debug)]
pub struct Writer<'a> {
    snapshot: &'a Snapshot,
    names: &'a Names,
    nodes: BTreeSet<NodeId>,
    /// By mask.
    cpus: Vec<Cpus>,
}

/// The CPUs a mask leaves a task.
#[derive(Clone, Debug, PartialEq)]
enum Cpus {
    All,
    None,
    Some(String),
}

impl<'a> Writer<'a> {
    /// A writer of `snapshot`, whose parts are called `names`.
    pub fn new(snapshot: &'a Snapshot, names: &'a Names) -> Writer<'a> {
        let mut known: Vec<CpuId> = Vec::new();
        for domain in &snapshot.domains {
            known.extend(&domain.cpus);
        }
        let ids = (0..snapshot.masks.len() as u32).map(MaskId);
        Writer {
            snapshot,
            names,
            nodes: snapshot.nodes.iter().map(|node| node.id).collect(),
            cpus: ids.map(|id| cpus(&snapshot.masks, id, &known)).collect(),
        }
    }

    /// The file. Tasks are in the order of their ids, and only those that have
    /// a domain and a CPU; of two with the same id only one.
    pub fn file(&self) -> File<'_> {
        let mut tasks: Vec<TaskEntry<'_>> = self
            .snapshot
            .tasks
            .iter()
            .filter_map(|task| self.task(task))
            .collect();
        tasks.sort_by_key(|task| task.id);
        // A thread id can be in use again while the row of its last user is
        // still there.
        tasks.dedup_by_key(|task| task.id);
        File {
            topology: self.topology(),
            groups: self.groups(),
            tasks,
        }
    }

    fn topology(&self) -> Topology<'_> {
        let nodes = self.snapshot.nodes.iter().map(|node| NodeEntry {
            id: node.id,
            distance: &node.distance,
        });
        let domains = self.names.listed.iter().filter_map(|&id| {
            let domain = self.snapshot.domains.get(id.index())?;
            Some(DomainEntry {
                id: *self.names.domains.get(id.index())?,
                node: domain.node,
                cpus: format_cpus(&domain.cpus),
                capacity: within(domain.capacity, domain.cpus.len() as f64),
            })
        });
        Topology {
            nodes: nodes.collect(),
            domains: domains.collect(),
        }
    }

    /// The root only where it has something to say: a quota.
    fn groups(&self) -> Vec<GroupEntry<'_>> {
        let groups = self.snapshot.groups.iter().zip(&self.names.groups);
        groups
            .filter(|(group, path)| *path != ROOT_PATH || group.quota.is_finite())
            .map(|(group, path)| GroupEntry {
                path,
                weight: weight(group.weight),
                quota: group.quota.is_finite().then(|| group.quota.max(0.0)),
            })
            .collect()
    }

    fn task(&self, task: &Task) -> Option<TaskEntry<'_>> {
        let cpus = match self.cpus.get(task.mask.index())? {
            Cpus::None => return None,
            Cpus::All => None,
            Cpus::Some(cpus) => Some(cpus.as_str()),
        };
        let group = self.names.groups.get(task.group.index());
        Some(TaskEntry {
            id: task.id,
            weight: weight(task.weight),
            demand: within(task.demand, 1.0),
            domain: *self.names.domains.get(task.domain.index())?,
            cpus,
            group: group
                .filter(|_| task.group != GroupId::ROOT)
                .map(String::as_str),
            process: task.process,
            preferred_nodes: (0..u64::BITS)
                .filter(|bit| task.preferred_nodes >> bit & 1 != 0)
                .map(NodeId)
                .filter(|node| self.nodes.contains(node))
                .collect(),
        })
    }
}

/// What of the mask is in `known`, which is all CPUs.
fn cpus(masks: &MaskTable, mask: MaskId, known: &[CpuId]) -> Cpus {
    let allowed: Vec<CpuId> = known
        .iter()
        .copied()
        .filter(|&cpu| masks.contains(mask, cpu))
        .collect();
    match allowed.len() {
        all if all == known.len() => Cpus::All,
        0 => Cpus::None,
        _ => Cpus::Some(format_cpus(&allowed)),
    }
}

/// A weight that can be read: one that is none is the smallest that counts.
fn weight(weight: f64) -> f64 {
    const LEAST: f64 = 0.001;
    if weight > 0.0 {
        weight.min(MAX_WEIGHT)
    } else {
        LEAST
    }
}

/// A number from 0 to `most`; what is none is 0.
fn within(number: f64, most: f64) -> f64 {
    // max: of a number and NaN it is the number.
    number.max(0.0).min(most)
}
