// SPDX-License-Identifier: GPL-2.0-only
//! Hands a level to the children of a group, and keeps the books of it.
//! Never decides a level.

use std::ops::Range;

use super::Entitlements;
use super::fill::entitlement;
use super::tree::{Kind, MIXED, Tree};
use super::units::{NOTICEABLE, cpus, units};

/// What was given so far.
#[derive(Debug, Default)]
pub(super) struct Payout {
    /// What each group got, in CPUs.
    pub total: Vec<f64>,
    /// See [`Payout::is_short`].
    short: Vec<bool>,
    /// What enters the network at each node, in units: at a mask class what was
    /// given to tasks of that class alone, at a group what it has not yet
    /// handed on.
    pub given: Vec<u64>,
    /// Whether somebody of the mask class is short, and so are all groups he
    /// is in.
    pub hungry: Vec<bool>,
    /// The node of each group that is `MIXED`; of no meaning for others.
    pub node: Vec<u32>,
}

impl Payout {
    /// Starts with what there is for the root, in CPUs. The first nodes are the mask
    /// classes, then there are `others`, then the groups that are `MIXED`, the deepest
    /// first.
    pub fn start(&mut self, tree: &Tree, mask_classes: usize, others: usize, most: f64) {
        self.total.clear();
        self.total.resize(tree.len(), 0.0);
        let demand = cpus(tree.demand[0]);
        self.total[0] = most.min(demand);
        self.short.clear();
        self.short.resize(tree.len(), false);
        self.short[0] = most + NOTICEABLE < demand;
        let mut nodes = (mask_classes + others) as u32;
        self.node.clear();
        self.node.resize(tree.len(), 0);
        for group in tree.deepest_first() {
            if tree.class[group] == MIXED {
                self.node[group] = nodes;
                nodes += 1;
            }
        }
        self.given.clear();
        self.given.resize(nodes as usize, 0);
        self.hungry.clear();
        self.hungry.resize(nodes as usize, false);
    }

    /// Whether the group, and all it is in, got less than it could use.
    pub fn is_short(&self, group: usize) -> bool {
        self.short[group]
    }

    /// Whether what a group got is enough for all its children.
    pub fn is_enough(&self, tree: &Tree, group: usize) -> bool {
        self.total[group] >= cpus(tree.sum[group])
    }

    /// From now on, what the group got is what its children get.
    pub fn open(&mut self, tree: &Tree, group: usize) {
        if tree.class[group] == MIXED {
            self.given[self.node[group] as usize] = 0;
        }
    }

    /// Gives these children of a group what they get at the level.
    pub fn hand_out(
        &mut self,
        tree: &Tree,
        group: usize,
        children: Range<usize>,
        level: f64,
        out: &mut Entitlements,
    ) {
        let group_is_short = self.short[group];
        // What one of a single class hands on is in the books already.
        let mixed = tree.class[group] == MIXED;
        for child in &tree.children[children] {
            let share = entitlement(child.claim, level);
            let short = group_is_short && share + NOTICEABLE < child.claim.demand;
            match tree.kind(child) {
                Kind::Task(task) => {
                    out.shares[task] = share;
                    out.levels[task] = level;
                    self.hungry[child.class as usize] |= short;
                }
                Kind::Group(group) => {
                    self.total[group] = share;
                    self.short[group] = short;
                    if child.class == MIXED {
                        self.given[self.node[group] as usize] = units(share);
                    }
                }
            }
            if mixed && child.class != MIXED {
                self.given[child.class as usize] += units(share);
            }
        }
    }
}
