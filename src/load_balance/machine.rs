// SPDX-License-Identifier: GPL-2.0-only
//! Nodes and distances, by the places of domains in the snapshot.
//! Never looks at tasks or loads.

use super::Snapshot;
use crate::ids::NodeId;

/// A remote node whose distance is not given: the kernel's REMOTE_DISTANCE.
const REMOTE_DISTANCE: u32 = 20;
const LOCAL_DISTANCE: u32 = 10;

/// What a plan knows of the machine's shape. Rebuilt only when that changes.
#[derive(Debug, Default)]
pub(super) struct Machine {
    /// The node of each domain: what the rest was built from.
    of_domains: Vec<NodeId>,
    /// Nodes that have domains, in order.
    nodes: Vec<NodeId>,
    /// Of each domain, the place of its node in `nodes`.
    node: Vec<usize>,
    /// Distances between `nodes`, row by row, since the last
    /// [`Machine::update`] that found something changed.
    distance: Vec<u32>,
}

impl Machine {
    /// Follows the snapshot.
    pub fn update(&mut self, snapshot: &Snapshot) {
        let domains = || snapshot.domains.iter().map(|domain| domain.node);
        if !self.of_domains.iter().copied().eq(domains()) {
            self.of_domains.clear();
            self.of_domains.extend(domains());
            self.nodes.clone_from(&self.of_domains);
            self.nodes.sort_unstable();
            self.nodes.dedup();
            let place = |node| self.nodes.binary_search(&node).unwrap_or_default();
            self.node.clear();
            self.node.extend(domains().map(place));
        }
        self.measure(snapshot);
    }

    fn measure(&mut self, snapshot: &Snapshot) {
        let count = self.nodes.len();
        self.distance.clear();
        self.distance.resize(count * count, REMOTE_DISTANCE);
        for node in 0..count {
            self.distance[node * count + node] = LOCAL_DISTANCE;
        }
        for node in &snapshot.nodes {
            let Ok(from) = self.nodes.binary_search(&node.id) else {
                continue;
            };
            for (to, &distance) in &node.distance {
                if let Ok(to) = self.nodes.binary_search(to) {
                    self.distance[from * count + to] = distance;
                }
            }
        }
    }

    /// Number of nodes that have domains.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The node of a domain, as a place among those that have domains.
    pub fn node(&self, domain: usize) -> usize {
        self.node[domain]
    }

    /// SLIT distance between the nodes of two domains.
    pub fn distance(&self, from: usize, to: usize) -> u32 {
        self.distance[self.node[from] * self.nodes.len() + self.node[to]]
    }
}
