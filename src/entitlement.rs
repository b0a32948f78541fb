// SPDX-License-Identifier: GPL-2.0-only
//! Entitlements: what each task is owed on the whole machine, in CPUs.
//! Never looks at domains, the clock or the kernel.
//!
//! **One pot.** c_i = min(d_i, λ·w_i) with Σc = min(P, Σd). If Σd <= P nobody is
//! limited and c = d. Otherwise there is one λ that uses up P. With every
//! d = 1 this is the weight readjustment of Surplus Fair Scheduling (Chandra et
//! al., OSDI 2000). [`Filler`] finds it in linear time.
//!
//! **Masks.** A task confined to few CPUs may not get λ·w, and then the others
//! get more. What is possible: for every set of CPUs, the tasks confined to it
//! get at most what it has. Among all that is possible, the entitlements are
//! those that are best for who has the least c/w, then for the next, and so on
//! (weighted max-min). They are unique; every task has a level of its own with
//! c = min(d, level·w), and the levels of tasks that share CPUs they both use
//! are the same.
//!
//! They are found by decomposition (Fujishige 1980; Groenevelt 1991): take the
//! level at which all together get what they can get together. If the CPUs can
//! carry that (a maximum flow tells), it is the answer. If not, the smallest
//! minimum cut separates those who are short at this level from the rest: the
//! level of the former is lower and that of the latter is not, and the CPUs
//! that the former may use are full and theirs alone. So both are problems of
//! their own, on CPUs of their own. Nested sets (CPU, domain, node, cpuset) are
//! the case in which this is filling a tree; of those, the ones that can stand in
//! nobody's way are left out before (`nest.rs`).
//!
//! **Groups.** A group could use min(quota, Σ of what its children could use);
//! its children are the tasks and groups directly in it. From the root down,
//! what a group got is split among its children by weighted max-min of what
//! each child gets in total, among all that is possible while groups that were
//! split before keep what their children got and others keep what they got.
//! This is not the product of weights: what a satisfied task leaves behind
//! stays in its group first. It is exact for every group, given what is fixed
//! when its turn comes. One thing depends on order: of two groups of equal
//! depth whose totals are fixed but which compete for the same confined CPUs,
//! the one that is first in the list chooses first.
//!
//! **Rounding.** Sums of CPUs that cuts depend on are whole numbers of 2^-40
//! CPU, so what is decided does not depend on order. Shares are right to about
//! 1e-12 CPU for each task on the machine.

mod arcs;
mod bare;
mod classes;
mod confined;
mod fill;
mod flat;
mod flow;
mod ladder;
mod nest;
mod payout;
mod regions;
mod terminal;
mod tree;
mod units;

use crate::affinity::MaskTable;
use crate::ids::{CpuId, GroupId, MaskId};
use std::ops::Range;

use bare::Bare;
use classes::{Classes, NOWHERE};
use confined::{Confined, Way, slack};
use fill::entitlement;
pub use fill::{Claim, Fill, Filler, fill};
use payout::Payout;
use tree::{MIXED, Tree};
use units::NOTICEABLE;

/// What a CPU can hand out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CpuCapacity {
    /// The CPU.
    pub cpu: CpuId,
    /// CPUs it can hand out: 1, or less where other classes take some of it or
    /// it is slower. What is not above 0 is 0.
    pub capacity: f64,
}

/// A control group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// The group it is in; of no meaning for the root. If that does not exist
    /// or is inside this one, it is the root.
    pub parent: GroupId,
    /// Weight among the children of its parent. As that of a [`Claim`].
    pub weight: f64,
    /// CPUs it may use at most; `f64::INFINITY`: no such limit. What is not
    /// above 0 is 0.
    pub quota: f64,
}

/// A task's claim on the machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskClaim {
    /// As that of a [`Claim`], among the children of its group.
    pub weight: f64,
    /// As that of a [`Claim`].
    pub demand: f64,
    /// The CPUs it may use. If the problem has none of them, it gets nothing.
    pub mask: MaskId,
    /// The group it is in. One that does not exist is the root.
    pub group: GroupId,
}

impl TaskClaim {
    fn claim(&self) -> Claim {
        Claim {
            weight: self.weight,
            demand: self.demand,
        }
    }
}

/// Who claims what of which CPUs.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// The CPUs that there are, each once.
    pub cpus: &'a [CpuCapacity],
    /// The sets of CPUs that tasks are confined to.
    pub masks: &'a MaskTable,
    /// The groups; the first is the root, and there always is one.
    pub groups: &'a [Group],
    /// The tasks. Sums are taken in their order, so that another order may
    /// change the last bits.
    pub tasks: &'a [TaskClaim],
}

/// What decided the entitlements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// One group, and no mask stood in the way: one level for all.
    #[default]
    Fill,
    /// Several groups, and no mask stood in the way.
    Groups,
    /// Masks stood in the way.
    Flow,
}

/// What each task is owed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Entitlements {
    /// c of each task, in CPUs.
    pub shares: Vec<f64>,
    /// The level of each task in its group: CPUs per unit of its own weight,
    /// c = min(d, level·w). `f64::INFINITY`: it is not limited. 0 for a task
    /// that has no CPU to run on.
    pub levels: Vec<f64>,
    /// The machine's λ: the level that a claim directly in the root would have
    /// if it were not confined. `f64::INFINITY`: it would not be limited.
    /// Without any capacity it is 0.
    pub level: f64,
    /// Σ c.
    pub total: f64,
    /// Of each CPU of the problem, whether somebody who gets less than he could
    /// use could use it, directly or by displacing others. Such a CPU must be
    /// full. Somebody held back by a quota, his own or that of a group he is
    /// in, does not count.
    pub wanted: Vec<bool>,
    /// How they were found.
    pub method: Method,
}

/// Solves problems and keeps its scratch memory from round to round.
#[derive(Debug, Default)]
pub struct Solver {
    classes: Classes,
    tree: Tree,
    filler: Filler,
    payout: Payout,
    confined: Confined,
    bare: Bare,
    /// Whether `bare` holds the flow of the outcome.
    is_bare: bool,
    /// Whether masks stood in the way of groups in the last round. Decides what is
    /// tried first, never what comes out.
    masks_bound: bool,
    /// The level of each mask class, where there is one group.
    levels: Vec<f64>,
}

impl Solver {
    /// Writes what every task is owed. O(n) in the tasks if no mask can stand in
    /// the way; otherwise there is a maximum flow, on mask classes and classes
    /// of CPUs, for each distinct level of each group, at worst. Mostly it is one
    /// flow for all groups that hold no others.
    ///
    /// # Panics
    /// With more tasks and groups than a u32 can count.
    pub fn solve(&mut self, problem: &Problem<'_>, out: &mut Entitlements) {
        self.classes.build(problem);
        self.is_bare = false;
        self.bare.begin();
        out.wanted.clear();
        if problem.groups.len() <= 1 && self.classes.is_uniform() {
            self.solve_uniform(problem, out);
        } else if problem.groups.len() <= 1 {
            self.solve_flat(problem, out);
        } else {
            self.solve_tree(problem, out);
        }
        out.total = out.shares.iter().sum();
        out.level = match out.level {
            _ if !self.classes.has_capacity => 0.0,
            _ if self.has_room(problem, out.total) => f64::INFINITY,
            level => level,
        };
    }

    /// Whether there is room for one more task directly in the root.
    fn has_room(&self, problem: &Problem<'_>, total: f64) -> bool {
        let most = self.classes.total_capacity.min(root_quota(problem));
        // Each share may have lost a unit to rounding.
        total + NOTICEABLE + units::cpus(problem.tasks.len() as u64) < most
    }

    /// One group and one mask class: the tree is not worth building.
    fn solve_uniform(&mut self, problem: &Problem<'_>, out: &mut Entitlements) {
        let reached = self.classes.reached_capacity;
        let quota = root_quota(problem);
        let claims = problem.tasks.iter().map(|task| task.claim().sane());
        let fill = self.filler.level(claims.clone(), reached.min(quota));
        let shares = claims.clone().map(|claim| entitlement(claim, fill.level));
        out.shares.clear();
        out.shares.extend(shares);
        out.levels.clear();
        out.levels.resize(problem.tasks.len(), fill.level);
        out.level = fill.level;
        let mut claims = claims.zip(&out.shares);
        let short = fill.is_limited()
            && reached < quota
            && claims.any(|(claim, share)| share + NOTICEABLE < claim.demand);
        let reached = |cpu| short && self.classes.is_reached(cpu);
        out.wanted.extend((0..problem.cpus.len()).map(reached));
        out.method = match short && !self.classes.all_reached {
            true => Method::Flow,
            false => Method::Fill,
        };
    }

    fn solve_tree(&mut self, problem: &Problem<'_>, out: &mut Entitlements) {
        self.tree.build(problem, &self.classes);
        let others = self.classes.capacity.len();
        let most = self.classes.reached_capacity;
        self.payout
            .start(&self.tree, self.classes.sets().masks, others, most);
        let several = self.tree.class[0] == MIXED;
        let mut bind = self.payout.is_short(0) && !self.classes.all_reached;
        if several {
            bind |= self.descend_among_masks(out);
        } else {
            out.level = self.descend(Way::Free, 0..self.tree.len());
        }
        out.method = match self.tree.len() {
            _ if bind => Method::Flow,
            1 => Method::Fill,
            _ => Method::Groups,
        };
        self.payout.pay(problem, &self.classes, &self.tree, out);
        self.find_wanted(several, problem.cpus.len(), out);
    }

    /// Splits as if no mask stood in the way, and anew if one does. Returns
    /// whether one does.
    ///
    /// Masks that did in the last round mostly do again. So what all can get together
    /// is found first then: if it is less than without masks, nothing is split twice.
    fn descend_among_masks(&mut self, out: &mut Entitlements) -> bool {
        let total = self.payout.total[0];
        self.confined.begin(&self.tree, &self.payout);
        let known = self.masks_bound.then(|| self.most());
        if known.is_none_or(|most| !self.confined.is_below(most, total)) {
            out.level = self.descend(Way::Free, 0..self.tree.len());
            self.masks_bound = !self.is_carried();
            if !self.masks_bound {
                return false;
            }
        }
        let most = known.unwrap_or_else(|| self.most());
        let (count, others) = (self.classes.sets().masks, self.classes.capacity.len());
        self.payout.start(&self.tree, count, others, most);
        out.level = self.descend_confined();
        true
    }

    /// Builds the network, and finds the most that the children of the root can get
    /// together, in CPUs. The exact split of the root goes on from the flow of that.
    fn most(&mut self) -> f64 {
        let (tree, classes, payout) = (&self.tree, &self.classes, &self.payout);
        self.confined.build(tree, classes, payout);
        self.confined.most(tree, classes, payout)
    }

    /// Whether the CPUs can carry what was given to tasks.
    fn is_carried(&mut self) -> bool {
        let slack = slack(&self.tree, &self.payout);
        self.is_bare = self.bare.carries(&self.classes, &self.payout.given, slack);
        self.is_bare
    }

    /// Splits what every group got as its CPUs can carry it. Returns what
    /// [`Solver::descend`] does.
    ///
    /// Once only groups are left that hold no others of several mask classes, mostly no
    /// more CPUs need to be cut off. If the CPUs can carry what these get then, each
    /// gets it: whoever is first could not get it otherwise. That is tried again as
    /// groups are done, but not often.
    fn descend_confined(&mut self) -> f64 {
        let (leaves, all) = (self.tree.leaves().max(1), self.tree.len());
        let level = self.descend(Way::Exact, 0..leaves);
        let (mut done, mut step) = (leaves, 1);
        while done < all {
            self.payout.note();
            self.descend(Way::Foreseen, done..all);
            if self.is_carried() {
                break;
            }
            self.payout.take_back();
            let next = (done + step).min(all);
            self.descend(Way::Exact, done..next);
            (done, step) = (next, FORESIGHT * step);
        }
        level
    }

    /// Splits what groups got among their children: those at these places in the
    /// order from the root down. Returns the level in the first.
    fn descend(&mut self, way: Way, places: Range<usize>) -> f64 {
        let Solver {
            tree,
            filler,
            payout,
            confined,
            ..
        } = self;
        let mut first = None;
        for &group in &tree.order[places] {
            let group = group as usize;
            payout.open(tree, group);
            let level = match tree.class[group] {
                MIXED => confined.split(tree, group, way, payout),
                NOWHERE => f64::INFINITY,
                _ => {
                    let level = match payout.is_enough(tree, group) {
                        true => f64::INFINITY,
                        false => {
                            let total = payout.total[group];
                            filler.level(tree.claims(group), total).level
                        }
                    };
                    payout.give_all(tree.runs_of(group).start, level);
                    level
                }
            };
            payout.hand_on(tree, group);
            first = first.or(Some(level));
        }
        first.unwrap_or(f64::INFINITY)
    }

    /// `several`: there is more than one mask class, and a network holds the flow of
    /// the outcome.
    fn find_wanted(&mut self, several: bool, cpus: usize, out: &mut Entitlements) {
        let Solver {
            classes,
            payout,
            confined,
            bare,
            ..
        } = self;
        if !payout.hungry.contains(&true) {
            out.wanted.resize(cpus, false);
        } else if several {
            let slack = slack(&self.tree, payout);
            match self.is_bare {
                true => bare.spread(&mut payout.hungry, slack),
                false => confined.spread(&mut payout.hungry),
            }
            let node = |class: &u32| classes.sets().masks + *class as usize;
            let cpus = classes.sets().of_cpu.iter();
            out.wanted
                .extend(cpus.map(|class| payout.hungry[node(class)]));
        } else {
            out.wanted
                .extend((0..cpus).map(|cpu| classes.is_reached(cpu)));
        }
    }
}

/// Groups to be split before the rest is tried at once are so many times those before
/// the last trial, as it then failed: with a hundred groups a trial takes about a sixteenth
/// of what it takes to split them one by one.
const FORESIGHT: usize = 16;

/// The quota of the root, of which a problem without groups has none.
fn root_quota(problem: &Problem<'_>) -> f64 {
    match problem.groups.first() {
        Some(root) if root.quota > 0.0 => root.quota,
        Some(_) => 0.0,
        None => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests;
