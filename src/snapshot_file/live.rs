// SPDX-License-Identifier: GPL-2.0-only
//! The snapshot that the running scheduler shows: the last one it planned on.
//! Never takes one itself.

use std::sync::Arc;

use crate::cgroups::ROOT_PATH;
use crate::domains::Layout;
use crate::ids::{CpuId, DomainId};
use crate::load_balance::{Domain, Node, Snapshot};

use super::{Names, Writer};

/// What the daemon keeps to be able to answer.
#[derive(Debug)]
pub struct Live {
    latest: Snapshot,
    groups: Arc<Vec<String>>,
    /// The CPUs each domain had when the machine was read.
    cpus: Vec<Vec<CpuId>>,
}

impl Live {
    /// Before the first round: the machine without tasks.
    pub fn new(layout: &Layout) -> Live {
        let nodes = layout.nodes.iter().map(|node| Node {
            id: node.id,
            distance: node.distance.clone(),
        });
        let domains = layout.domains.iter().map(|domain| Domain {
            id: domain.id,
            node: domain.node,
            capacity: domain.capacity,
            cpus: domain.cpus.clone(),
        });
        Live {
            cpus: layout
                .domains
                .iter()
                .map(|domain| domain.cpus.clone())
                .collect(),
            latest: Snapshot {
                nodes: nodes.collect(),
                domains: domains.collect(),
                ..Default::default()
            },
            groups: Arc::new(vec![ROOT_PATH.to_owned()]),
        }
    }

    /// Keeps the snapshot of a round that has ended, and the paths of its groups;
    /// returns the one before it.
    pub fn keep(&mut self, snapshot: Snapshot, groups: Arc<Vec<String>>) -> Snapshot {
        self.groups = groups;
        std::mem::replace(&mut self.latest, snapshot)
    }

    /// A copy for somebody who asks. A domain whose CPUs are all offline is
    /// shown with those it had and nothing to hand out: its tasks must leave.
    pub fn show(&self) -> Box<Shown> {
        let mut snapshot = self.latest.clone();
        for (domain, cpus) in snapshot.domains.iter_mut().zip(&self.cpus) {
            if domain.cpus.is_empty() {
                domain.cpus.clone_from(cpus);
                domain.capacity = 0.0;
            }
        }
        Box::new(Shown {
            snapshot,
            groups: self.groups.clone(),
        })
    }
}

/// A snapshot and what its groups are called.
#[derive(Clone, Debug)]
pub struct Shown {
    /// What was planned on.
    pub snapshot: Snapshot,
    /// The path of each group, by [`crate::ids::GroupId::index`].
    pub groups: Arc<Vec<String>>,
}

/// What [`Live::show`] returned, as the JSON of a snapshot file.
///
/// # Errors
/// None that is known: all numbers are finite.
pub fn to_json(shown: &Shown) -> serde_json::Result<serde_json::Value> {
    let snapshot = &shown.snapshot;
    let domains = snapshot.domains.len();
    let names = Names {
        domains: (0..domains as u64).collect(),
        listed: (0..domains as u32).map(DomainId).collect(),
        groups: shown.groups.to_vec(),
    };
    serde_json::to_value(Writer::new(snapshot, &names).file())
}
