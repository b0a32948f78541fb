// SPDX-License-Identifier: GPL-2.0-only
//! Hands levels to the children of groups, and keeps the books of it.
//! Never decides a level.

use super::classes::{Classes, NOWHERE};
use super::fill::entitlement;
use super::tree::{MIXED, Tree, home};
use super::units::{NOTICEABLE, cpus};
use super::{Entitlements, Problem};

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
    /// The level of each run.
    level: Vec<f64>,
    /// The next child of each group to be paid.
    next: Vec<u32>,
    /// What was given at some time before.
    before: Vec<u64>,
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
        for &group in &tree.upwards {
            let group = group as usize;
            if tree.class[group] == MIXED {
                self.node[group] = nodes;
                nodes += 1;
            }
        }
        self.given.clear();
        self.given.resize(nodes as usize, 0);
        self.hungry.clear();
        self.hungry.resize(nodes as usize, false);
        // Every level is written before it is read.
        self.level.resize(tree.runs.len(), 0.0);
    }

    /// Whether the group, and all it is in, got less than it could use.
    pub fn is_short(&self, group: usize) -> bool {
        self.short[group]
    }

    /// Whether what a group got is enough for all its children.
    pub fn is_enough(&self, tree: &Tree, group: usize) -> bool {
        self.total[group] >= cpus(tree.sum[group])
    }

    /// The node of a run of a group that is `MIXED`.
    pub fn node_of(&self, tree: &Tree, run: usize) -> u32 {
        match tree.runs[run].class {
            MIXED => self.node[tree.runs[run].group as usize],
            class => class,
        }
    }

    /// From now on, what the group got is what its children get.
    pub fn open(&mut self, tree: &Tree, group: usize) {
        if tree.class[group] == MIXED {
            self.given[self.node[group] as usize] = 0;
        }
    }

    /// Gives a run of a group that is `MIXED` what it gets at the level, in units.
    pub fn give(&mut self, tree: &Tree, run: usize, level: f64, amount: u64) {
        self.level[run] = level;
        let node = self.node_of(tree, run);
        self.given[node as usize] += amount;
    }

    /// Gives the run of a group of one class a level: what it gets is in the books
    /// already.
    pub fn give_all(&mut self, run: usize, level: f64) {
        self.level[run] = level;
    }

    /// Tells the groups in a group what they got.
    pub fn hand_on(&mut self, tree: &Tree, group: usize) {
        for (child, run, claim) in tree.groups_in(group) {
            let share = entitlement(claim, self.level[run]);
            self.total[child] = share;
            self.short[child] = self.short[group] && share + NOTICEABLE < claim.demand;
        }
    }

    /// Notes what was given so far, to be taken back.
    pub fn note(&mut self) {
        self.before.clone_from(&self.given);
    }

    /// Takes back what was given since it was noted.
    pub fn take_back(&mut self) {
        self.given.clone_from(&self.before);
    }

    /// Writes what every task gets, in their order: they are far from it in that of
    /// groups.
    pub fn pay(
        &mut self,
        problem: &Problem<'_>,
        classes: &Classes,
        tree: &Tree,
        out: &mut Entitlements,
    ) {
        self.next.clear();
        self.next
            .extend((0..tree.len()).map(|group| tree.start_of(group)));
        // Every place is written below.
        for amounts in [&mut out.shares, &mut out.levels] {
            amounts.resize(problem.tasks.len(), 0.0);
        }
        let nr_groups = tree.len();
        let amounts = out.shares.iter_mut().zip(&mut out.levels);
        for (task, (share, level)) in problem.tasks.iter().zip(amounts) {
            let class = classes.of(task.mask);
            if class == NOWHERE {
                (*share, *level) = (0.0, 0.0);
                continue;
            }
            let group = home(task.group, nr_groups);
            let next = &mut self.next[group];
            let claim = task.claim().sane();
            *level = self.level[tree.run_of[*next as usize] as usize];
            *next += 1;
            *share = entitlement(claim, *level);
            let lacks = self.short[group] & (*share + NOTICEABLE < claim.demand);
            self.hungry[class as usize] |= lacks;
        }
    }
}
