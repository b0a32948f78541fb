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
//! the case in which this is filling a tree; they need no code of their own.
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
use classes::Classes;
use confined::{Confined, Split};
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
    /// Whether masks stood in the way of groups in the last round. Decides what is
    /// tried first, never what comes out.
    masks_bound: bool,
    /// The level of each mask class, where there is one group.
    levels: Vec<f64>,
}

impl Solver {
    /// Writes what every task is owed. O(n) in the tasks if no mask stands in
    /// the way; otherwise there is a maximum flow, on mask classes and classes
    /// of CPUs, for each distinct level of each group, at worst.
    ///
    /// # Panics
    /// With more tasks and groups than a u32 can count.
    pub fn solve(&mut self, problem: &Problem<'_>, out: &mut Entitlements) {
        self.classes.build(problem);
        out.shares.clear();
        out.levels.clear();
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
        out.shares.extend(shares);
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
        out.shares.resize(problem.tasks.len(), 0.0);
        out.levels.resize(problem.tasks.len(), 0.0);
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
            self.descend(false, out);
        }
        out.method = match self.tree.len() {
            _ if bind => Method::Flow,
            1 => Method::Fill,
            _ => Method::Groups,
        };
        self.find_wanted(several, problem.cpus.len(), out);
    }

    /// Splits as if no mask stood in the way, and anew if one does. Returns
    /// whether one does.
    ///
    /// Masks that did in the last round mostly do again. So what all can get together
    /// is found first then: if it is less than without masks, nothing is split twice.
    fn descend_among_masks(&mut self, out: &mut Entitlements) -> bool {
        let total = self.payout.total[0];
        let did_bind = self.masks_bound;
        let known = did_bind.then(|| {
            self.build_network();
            self.most()
        });
        let known = known.filter(|&most| self.confined.is_below(most, total));
        if known.is_none() {
            self.descend(false, out);
            let (tree, classes, payout) = (&self.tree, &self.classes, &self.payout);
            if !did_bind {
                // Mostly it is enough: masks seldom bind.
                self.confined.build_without_groups(tree, classes, payout);
            }
            self.masks_bound = !self.confined.is_feasible(classes, payout);
            if !self.masks_bound {
                return false;
            }
            if !did_bind {
                self.build_network();
            }
        }
        let most = known.unwrap_or_else(|| self.most());
        let (count, others) = (self.classes.sets().masks, self.classes.capacity.len());
        self.payout.start(&self.tree, count, others, most);
        self.descend(true, out);
        true
    }

    fn build_network(&mut self) {
        self.confined.build(&self.tree, &self.classes, &self.payout);
    }

    /// The most that the children of the root can get together, in CPUs. The
    /// first split must follow: it goes on from the flow of that.
    fn most(&mut self) -> f64 {
        self.confined.most(&self.tree, &self.classes, &self.payout)
    }

    /// Splits what every group got among its children, from the root down.
    fn descend(&mut self, confined: bool, out: &mut Entitlements) {
        let Solver {
            tree,
            filler,
            payout,
            ..
        } = self;
        for &group in &tree.order {
            let group = group as usize;
            payout.open(tree, group);
            let children = tree.children_of(group);
            if confined && tree.class[group] == MIXED {
                let split = Split {
                    tree,
                    group,
                    payout,
                    out,
                };
                let level = self.confined.split(split);
                if group == 0 {
                    out.level = level;
                }
                continue;
            }
            let level = if payout.is_enough(tree, group) {
                f64::INFINITY
            } else {
                let claims = tree.children[children.clone()].iter();
                filler
                    .level(claims.map(|child| child.claim), payout.total[group])
                    .level
            };
            payout.hand_out(tree, group, children, level, out);
            if group == 0 {
                out.level = level;
            }
        }
    }

    /// `several`: there is more than one mask class, and the network holds the
    /// flow of the outcome.
    fn find_wanted(&mut self, several: bool, cpus: usize, out: &mut Entitlements) {
        let Solver {
            classes,
            payout,
            confined,
            ..
        } = self;
        if !payout.hungry.contains(&true) {
            out.wanted.resize(cpus, false);
        } else if several {
            confined.spread(&mut payout.hungry);
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
