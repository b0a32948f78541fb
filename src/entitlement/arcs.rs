// SPDX-License-Identifier: GPL-2.0-only
//! Where what groups get may go: from each group straight to the mask classes of the
//! tasks in it, past groups in which no quota stands in the way.
//! Never knows what flows.

use super::payout::Payout;
use super::tree::Tree;
use super::units::UNBOUNDED;
use crate::affinity::ones;

/// Arcs from groups, those of a group being together.
#[derive(Debug, Default)]
pub(super) struct Arcs {
    /// Where they lead, and what they can carry.
    arcs: Vec<(u32, u64)>,
    /// Of each node, the arcs from there.
    of: Vec<(u32, u32)>,
    /// Of each node, what can be carried there from the group at hand; and which
    /// nodes these are, as bits.
    sum: Vec<u64>,
    reached: Vec<u64>,
}

impl Arcs {
    /// Starts over, with so many nodes.
    pub fn clear(&mut self, nodes: usize) {
        self.arcs.clear();
        self.of.clear();
        self.of.resize(nodes, (0, 0));
        self.sum.clear();
        self.sum.resize(nodes, 0);
        self.reached.clear();
        self.reached.resize(nodes.div_ceil(64), 0);
    }

    /// Lists the arcs from a group that is `MIXED`, by where they lead. Those of the
    /// groups in it must be listed.
    pub fn list(&mut self, tree: &Tree, payout: &Payout, group: usize) -> &[(u32, u64)] {
        let start = self.arcs.len();
        let runs = tree.runs_of(group);
        let has_open = runs.clone().any(|run| tree.is_open_group(run));
        for run in runs {
            let (to, demand) = (payout.node_of(tree, run), tree.runs[run].demand);
            if !has_open {
                // Runs are in order.
                self.arcs.extend((demand > 0).then_some((to, demand)));
            } else if tree.is_open_group(run) {
                let (start, end) = self.of[to as usize];
                for at in start..end {
                    let (to, capacity) = self.arcs[at as usize];
                    self.add(to, capacity);
                }
            } else {
                self.add(to, demand);
            }
        }
        if has_open {
            self.collect();
        }
        let node = payout.node[group] as usize;
        self.of[node] = (start as u32, self.arcs.len() as u32);
        &self.arcs[start..]
    }

    fn add(&mut self, to: u32, capacity: u64) {
        let sum = &mut self.sum[to as usize];
        *sum = (*sum + capacity).min(UNBOUNDED);
        self.reached[to as usize / 64] |= 1 << (to % 64);
    }

    /// Lists what was added, in order.
    fn collect(&mut self) {
        for word in 0..self.reached.len() {
            for bit in ones(&[std::mem::take(&mut self.reached[word])]) {
                let to = 64 * word + bit;
                let capacity = std::mem::take(&mut self.sum[to]);
                self.arcs
                    .extend((capacity > 0).then_some((to as u32, capacity)));
            }
        }
    }
}
