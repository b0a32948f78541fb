// SPDX-License-Identifier: GPL-2.0-only
//! The tree of groups: who is in whom, and how much each group could use.
//! Never decides who gets what.

use std::ops::Range;

use super::classes::{Classes, NOWHERE};
use super::fill::Claim;
use super::units::{UNBOUNDED, cpus, units};
use super::{Group, Problem};
use crate::affinity::ones;
use crate::ids::GroupId;

/// The class of a group whose tasks are of more than one mask class.
pub(super) const MIXED: u32 = u32::MAX - 1;

/// A task or a group, in the group it is directly in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub claim: Claim,
    /// The mask class of the task, or of all tasks of the group, or `MIXED`.
    class: u32,
    /// The group, if it is one.
    group: u32,
}

const NOBODY: Child = Child {
    claim: Claim::NONE,
    class: NOWHERE,
    group: 0,
};

/// The groups of a problem. Tasks that can run nowhere are left out, and so are
/// groups that hold no others.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// All groups, the root first, every other after the group it is in: by
    /// depth, then as in the problem.
    pub order: Vec<u32>,
    /// What the children of a group could use, in units.
    pub sum: Vec<u64>,
    /// What a group could use, in units: `sum`, or its quota if that is less.
    pub demand: Vec<u64>,
    /// The mask class of all tasks of a group, or `MIXED`, or `NOWHERE`.
    pub class: Vec<u32>,
    /// All children: by group, tasks before groups, then as in the problem.
    children: Vec<Child>,
    /// Where the children of each group begin, and the end of the last; and where
    /// those begin that are groups.
    start: Vec<u32>,
    groups_start: Vec<u32>,
    /// Where the next child of each group goes.
    next: Vec<u32>,
    parent: Vec<u32>,
    depth: Vec<u32>,
    /// All groups, every one before the group it is in, and those of a depth as in the
    /// problem.
    pub upwards: Vec<u32>,
    /// Of each child, its run.
    pub run_of: Vec<u32>,
    pub runs: Vec<Run>,
    /// Where the runs of each group begin and end.
    runs_of: Vec<(u32, u32)>,
    /// Of each class, its run in the group at hand; and which there are, as bits.
    run_of_class: Vec<u32>,
    present: Vec<u64>,
}

/// Children of one group that are at the same node of a network: all of one mask
/// class, or one group that is `MIXED`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub class: u32,
    /// The group that is `MIXED`.
    pub group: u32,
    /// How many.
    pub len: u32,
    /// What they could use, in units.
    pub demand: u64,
}

impl Tree {
    /// Sorts the tasks of a problem into its groups.
    ///
    /// # Panics
    /// With more tasks and groups than a u32 can count.
    pub fn build(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let ids = problem.tasks.len() + problem.groups.len() + 1;
        assert!(
            u32::try_from(ids).is_ok(),
            "more tasks than a u32 can count"
        );
        self.find_parents(problem.groups);
        self.measure_depth();
        self.count(problem, classes);
        self.place_tasks(problem, classes);
        self.find_runs(problem, classes.sets().masks);
    }

    /// Number of groups, at least 1.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Where the children of a group are in `children`.
    fn children_of(&self, group: usize) -> Range<usize> {
        self.start[group] as usize..self.start[group + 1] as usize
    }

    /// The first of the children of a group, in the order of `run_of`: tasks come
    /// first, as in the problem.
    pub fn start_of(&self, group: usize) -> u32 {
        self.start[group]
    }

    /// Number of all children.
    pub fn nr_children(&self) -> usize {
        self.children.len()
    }

    /// The children of a group, each with its run.
    pub fn in_runs(&self, group: usize) -> impl ExactSizeIterator<Item = (usize, Claim)> {
        let range = self.children_of(group);
        let runs = self.run_of[range.clone()].iter().map(|&run| run as usize);
        runs.zip(self.children[range].iter().map(|child| child.claim))
    }

    /// The groups directly in a group, each with its run and its claim.
    pub fn groups_in(&self, group: usize) -> impl Iterator<Item = (usize, usize, Claim)> {
        let range = self.groups_start[group] as usize..self.start[group + 1] as usize;
        let runs = self.run_of[range.clone()].iter().map(|&run| run as usize);
        let children = self.children[range].iter();
        children
            .zip(runs)
            .map(|(child, run)| (child.group as usize, run, child.claim))
    }

    /// Whether a run is a group that is `MIXED` in which no quota stands in the way: it
    /// could use all that its children could.
    pub fn is_open_group(&self, run: usize) -> bool {
        let Run { class, group, .. } = self.runs[run];
        class == MIXED && self.demand[group as usize] >= self.sum[group as usize]
    }

    /// The claims of the children of a group.
    pub fn claims(&self, group: usize) -> impl Iterator<Item = Claim> + Clone {
        let children = &self.children[self.children_of(group)];
        children.iter().map(|child| child.claim)
    }

    /// Whether a group holds any that is `MIXED`.
    pub fn holds_mixed(&self, group: usize) -> bool {
        let runs = &self.runs[self.runs_of(group)];
        runs.last().is_some_and(|run| run.class == MIXED)
    }

    /// The place in `order` from which on no group holds any that is `MIXED`.
    pub fn leaves(&self) -> usize {
        let mut order = self.order.iter();
        let last = order.rposition(|&group| self.holds_mixed(group as usize));
        last.map_or(0, |last| last + 1)
    }

    /// A parent that does not exist is the root, and so is that of every group
    /// that is in itself.
    fn find_parents(&mut self, groups: &[Group]) {
        let count = groups.len().max(1);
        self.parent.clear();
        self.parent
            .extend(groups.iter().map(|group| match group.parent.index() {
                parent if parent < count => parent as u32,
                _ => 0,
            }));
        self.parent.resize(count, 0);
        self.parent[0] = 0;
        // `depth` holds the walk in which a group was first met.
        self.depth.clear();
        self.depth.resize(count, 0);
        for walk in 1..count as u32 {
            let mut at = walk;
            while at != 0 && self.depth[at as usize] == 0 {
                self.depth[at as usize] = walk;
                at = self.parent[at as usize];
            }
            // Back in the same walk: everything from here is on a circle.
            while at != 0 && self.depth[at as usize] == walk {
                at = std::mem::take(&mut self.parent[at as usize]);
            }
        }
    }

    fn measure_depth(&mut self) {
        self.depth.fill(0);
        for group in 1..self.len() {
            // Up to a group whose depth is known, and down again.
            let (mut at, mut steps) = (group, 0);
            while at != 0 && self.depth[at] == 0 {
                at = self.parent[at] as usize;
                steps += 1;
            }
            let mut depth = self.depth[at] + steps;
            let mut at = group;
            while at != 0 && self.depth[at] == 0 {
                self.depth[at] = depth;
                depth -= 1;
                at = self.parent[at] as usize;
            }
        }
        self.order.clear();
        self.order.extend(0..self.parent.len() as u32);
        let depth = &self.depth;
        let depth = |group: &u32| depth[*group as usize];
        self.order
            .sort_unstable_by_key(|group| (depth(group), *group));
        let levels = self.order.chunk_by(|a, b| depth(a) == depth(b));
        self.upwards.clear();
        self.upwards.extend(levels.rev().flatten());
    }

    /// Counts the children of each group, and finds their class.
    fn count(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let count = self.len();
        self.start.clear();
        self.start.resize(count + 1, 0);
        self.class.clear();
        self.class.resize(count, NOWHERE);
        for task in problem.tasks {
            let class = classes.of(task.mask);
            if class != NOWHERE {
                self.add(home(task.group, count), class);
            }
        }
        for at in 0..count {
            let group = self.upwards[at] as usize;
            if group != 0 && self.class[group] != NOWHERE {
                self.add(self.parent[group] as usize, self.class[group]);
            }
        }
        let mut sum = 0;
        for count in &mut self.start {
            sum += std::mem::replace(count, sum);
        }
    }

    /// Adds a child to a group.
    fn add(&mut self, group: usize, class: u32) {
        self.start[group] += 1;
        self.class[group] = match self.class[group] {
            NOWHERE => class,
            known if known == class => class,
            _ => MIXED,
        };
    }

    /// Puts all tasks in order of group. Groups come after those in the same group.
    fn place_tasks(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let count = self.len();
        // Every place is written, here or later.
        let children = self.start[count] as usize;
        self.children.resize(children, NOBODY);
        self.run_of.resize(children, 0);
        self.next.clear();
        self.next.extend_from_slice(&self.start[..count]);
        for task in problem.tasks {
            let (class, claim) = (classes.of(task.mask), task.claim().sane());
            if class != NOWHERE {
                let group = home(task.group, count);
                self.put(
                    group,
                    Child {
                        claim,
                        class,
                        ..NOBODY
                    },
                );
            }
        }
        self.groups_start.clone_from(&self.next);
    }

    fn put(&mut self, group: usize, child: Child) {
        let next = &mut self.next[group];
        self.children[*next as usize] = child;
        *next += 1;
    }

    /// Finds the runs of each group, which are in order of class, and then groups that
    /// are `MIXED`, and what they could use. From the leaves up: a group is put into
    /// the one it is in.
    fn find_runs(&mut self, problem: &Problem<'_>, classes: usize) {
        self.runs.clear();
        self.run_of_class.clear();
        self.run_of_class.resize(classes, 0);
        self.present.clear();
        self.present.resize(classes.div_ceil(64), 0);
        for numbers in [&mut self.sum, &mut self.demand] {
            numbers.clear();
            numbers.resize(self.parent.len(), 0);
        }
        self.runs_of.clear();
        self.runs_of.resize(self.parent.len(), (0, 0));
        for at in 0..self.len() {
            let group = self.upwards[at];
            self.list_runs(group as usize);
            self.hand_up(problem, group);
        }
    }

    /// Finds the runs of a group.
    fn list_runs(&mut self, group: usize) {
        let first = self.runs.len();
        match self.class[group] {
            NOWHERE => {}
            MIXED => {
                self.list_classes(group);
                self.list_children(group);
            }
            class => {
                let children = self.children_of(group);
                let claims = self.claims(group);
                let demand = claims.fold(0, |sum, claim| add(sum, units(claim.demand)));
                let run = self.add_run(class);
                self.run_of[children.clone()].fill(run);
                let run = &mut self.runs[run as usize];
                (run.len, run.demand) = (children.len() as u32, demand);
            }
        }
        self.runs_of[group] = (first as u32, self.runs.len() as u32);
        let demands = self.runs[first..].iter().map(|run| run.demand);
        self.sum[group] = demands.fold(0, add);
    }

    /// Finds what a group could use, and puts it into the one it is in.
    fn hand_up(&mut self, problem: &Problem<'_>, group: u32) {
        let at = group as usize;
        let most = match problem.groups.get(at) {
            Some(group) => self.sum[at].min(units(group.quota)),
            None => self.sum[at],
        };
        self.demand[at] = most;
        // The root is nobody's child.
        if at != 0 && self.class[at] != NOWHERE {
            let weight = problem.groups[at].weight;
            let demand = cpus(most);
            // A weight that makes no sense gets nothing.
            let claim = Claim { weight, demand }.sane();
            self.demand[at] = units(claim.demand);
            let class = self.class[at];
            self.put(
                self.parent[at] as usize,
                Child {
                    claim,
                    class,
                    group,
                },
            );
        }
    }

    /// Adds an empty run. Returns its number.
    fn add_run(&mut self, class: u32) -> u32 {
        self.runs.push(Run {
            class,
            group: 0,
            len: 0,
            demand: 0,
        });
        self.runs.len() as u32 - 1
    }

    /// Adds a run for each class that children of a group are of.
    fn list_classes(&mut self, group: usize) {
        for child in &self.children[self.children_of(group)] {
            if child.class != MIXED {
                let word = &mut self.present[child.class as usize / 64];
                let bit = 1 << (child.class % 64);
                // A word that was just written takes long to read.
                if *word & bit == 0 {
                    *word |= bit;
                }
            }
        }
        for word in 0..self.present.len() {
            for bit in ones(&[std::mem::take(&mut self.present[word])]) {
                let class = 64 * word + bit;
                self.run_of_class[class] = self.add_run(class as u32);
            }
        }
    }

    /// Puts the children of a group into the runs of their classes, and those that
    /// are `MIXED` into runs of their own.
    fn list_children(&mut self, group: usize) {
        for at in self.children_of(group) {
            let Child {
                claim,
                class,
                group,
            } = self.children[at];
            let number = match class {
                MIXED => self.add_run(class),
                _ => self.run_of_class[class as usize],
            };
            self.run_of[at] = number;
            let run = &mut self.runs[number as usize];
            run.group = group;
            run.len += 1;
            run.demand = add(run.demand, units(claim.demand));
        }
    }

    /// The numbers of the runs of a group.
    pub fn runs_of(&self, group: usize) -> Range<usize> {
        let (start, end) = self.runs_of[group];
        start as usize..end as usize
    }
}

fn add(sum: u64, amount: u64) -> u64 {
    (sum + amount).min(UNBOUNDED)
}

/// The group a task is in. One that does not exist is the root.
pub(super) fn home(group: GroupId, count: usize) -> usize {
    if group.index() < count {
        group.index()
    } else {
        0
    }
}
