// SPDX-License-Identifier: GPL-2.0-only
//! The tree of groups: who is in whom, and how much each group could use.
//! Never decides who gets what.

use std::ops::Range;

use super::classes::{Classes, NOWHERE};
use super::fill::Claim;
use super::units::{UNBOUNDED, cpus, units};
use super::{Group, Problem};
use crate::ids::GroupId;

/// The class of a group whose tasks are of more than one mask class.
pub(super) const MIXED: u32 = u32::MAX - 1;

/// A task or a group, in the group it is directly in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Child {
    pub claim: Claim,
    /// The mask class of the task, or of all tasks of the group, or `MIXED`.
    pub class: u32,
    /// Place in the problem's tasks, or, past those, in its groups.
    id: u32,
}

const NOBODY: Child = Child {
    claim: Claim::NONE,
    class: NOWHERE,
    id: 0,
};

/// A child as one or the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Task(usize),
    Group(usize),
}

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
    /// All children, by group, then by class, then as in the problem.
    pub children: Vec<Child>,
    start: Vec<u32>,
    tasks: u32,
    parent: Vec<u32>,
    depth: Vec<u32>,
    /// The children of groups that are `MIXED`, by node; where those of each group
    /// begin, and the end of the last.
    runs: Vec<Run>,
    run_start: Vec<u32>,
    sorter: Sorter,
}

/// Children of one group that come one after the other and are at the same node of
/// a network: all of one mask class, or one group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub class: u32,
    /// How many.
    pub len: u32,
    /// What they could use, in units.
    pub demand: u64,
}

/// Sorts the children of a group by class, and keeps its memory.
#[derive(Debug, Default)]
struct Sorter {
    /// Of each class, and of `MIXED`, how many there are, and then where the next goes.
    next: Vec<u32>,
    keys: Vec<u64>,
    sorted: Vec<Child>,
}

impl Sorter {
    /// Gets ready for so many classes.
    fn begin(&mut self, classes: usize) {
        self.next.clear();
        self.next.resize(classes + 1, 0);
    }

    /// Those of a class stay in their order; what is `MIXED` comes last.
    fn sort(&mut self, children: &mut [Child]) {
        self.sorted.clear();
        if children.len() < self.next.len() / 4 {
            // Going through all classes would take longer.
            let key = |(at, child): (u64, &Child)| u64::from(child.class) << 32 | at;
            self.keys.clear();
            self.keys.extend((0..).zip(&*children).map(key));
            self.keys.sort_unstable();
            let at = |key: &u64| children[(key & u64::from(u32::MAX)) as usize];
            self.sorted.extend(self.keys.iter().map(at));
        } else {
            let mixed = self.next.len() - 1;
            let bin = |child: &Child| (child.class as usize).min(mixed);
            self.next.fill(0);
            for child in &*children {
                self.next[bin(child)] += 1;
            }
            let mut sum = 0;
            for next in &mut self.next {
                sum += std::mem::replace(next, sum);
            }
            self.sorted.resize(children.len(), NOBODY);
            for child in &*children {
                let next = &mut self.next[bin(child)];
                self.sorted[*next as usize] = *child;
                *next += 1;
            }
        }
        children.copy_from_slice(&self.sorted);
    }
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
        self.tasks = problem.tasks.len() as u32;
        self.find_parents(problem.groups);
        self.measure_depth();
        self.add_up(problem, classes);
        self.sort_by_group(problem, classes);
        self.sort_by_class(classes.sets().masks);
    }

    /// Number of groups, at least 1.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Where the children of a group are in `children`.
    pub fn children_of(&self, group: usize) -> Range<usize> {
        self.start[group] as usize..self.start[group + 1] as usize
    }

    /// All groups, every one before the group it is in, and those of a depth as in
    /// the problem.
    pub fn deepest_first(&self) -> impl Iterator<Item = usize> {
        let depth = |group: &u32| self.depth[*group as usize];
        let levels = self.order.chunk_by(move |a, b| depth(a) == depth(b));
        levels.rev().flatten().map(|&group| group as usize)
    }

    /// The claims of these children.
    pub fn claims(&self, children: Range<usize>) -> impl Iterator<Item = Claim> + Clone {
        self.children[children].iter().map(|child| child.claim)
    }

    /// What a child is.
    pub fn kind(&self, child: &Child) -> Kind {
        match child.id.checked_sub(self.tasks) {
            None => Kind::Task(child.id as usize),
            Some(group) => Kind::Group(group as usize),
        }
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
        self.order
            .sort_unstable_by_key(|&group| (depth[group as usize], group));
    }

    /// Computes what the groups could use, from the leaves up, and counts their
    /// children.
    fn add_up(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let count = self.len();
        for amounts in [&mut self.sum, &mut self.demand] {
            amounts.clear();
            amounts.resize(count, 0);
        }
        self.start.clear();
        self.start.resize(count + 2, 0);
        self.class.clear();
        self.class.resize(count, NOWHERE);
        for task in problem.tasks {
            let class = classes.of(task.mask);
            if class != NOWHERE {
                let demand = units(task.claim().sane().demand);
                self.add(home(task.group, count), class, demand);
            }
        }
        for at in (0..count).rev() {
            let group = self.order[at] as usize;
            let quota = problem
                .groups
                .get(group)
                .map_or(UNBOUNDED, |group| units(group.quota));
            self.demand[group] = self.sum[group].min(quota);
            if group != 0 && self.class[group] != NOWHERE {
                // A weight that makes no sense gets nothing.
                self.demand[group] = units(self.claim(problem, group).demand);
                self.add(
                    self.parent[group] as usize,
                    self.class[group],
                    self.demand[group],
                );
            }
        }
    }

    /// Adds a child to a group.
    fn add(&mut self, group: usize, class: u32, demand: u64) {
        self.start[group + 2] += 1;
        self.sum[group] = (self.sum[group] + demand).min(UNBOUNDED);
        self.class[group] = match self.class[group] {
            NOWHERE => class,
            known if known == class => class,
            _ => MIXED,
        };
    }

    fn claim(&self, problem: &Problem<'_>, group: usize) -> Claim {
        Claim {
            weight: problem.groups[group].weight,
            demand: cpus(self.demand[group]),
        }
        .sane()
    }

    /// Puts all children in order of group, tasks before groups.
    fn sort_by_group(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let mut sum = 0;
        for count in &mut self.start {
            sum += *count;
            *count = sum;
        }
        let mut next = std::mem::take(&mut self.start);
        let mut children = std::mem::take(&mut self.children);
        // Every place is written below.
        children.resize(sum as usize, NOBODY);
        let mut put = |group: usize, child: Child| {
            let next = &mut next[group + 1];
            children[*next as usize] = child;
            *next += 1;
        };
        let count = self.len();
        for (id, task) in (0..).zip(problem.tasks) {
            let (class, claim) = (classes.of(task.mask), task.claim().sane());
            if class != NOWHERE {
                put(home(task.group, count), Child { claim, class, id });
            }
        }
        // The root is nobody's child.
        for group in 1..count {
            let (class, claim) = (self.class[group], self.claim(problem, group));
            let id = self.tasks + group as u32;
            if class != NOWHERE {
                put(self.parent[group] as usize, Child { claim, class, id });
            }
        }
        next.truncate(count + 1);
        (self.start, self.children) = (next, children);
    }

    /// Puts the children of each group in order of class: those of a group of one
    /// class are.
    fn sort_by_class(&mut self, classes: usize) {
        self.sorter.begin(classes);
        self.runs.clear();
        self.run_start.clear();
        for group in 0..self.len() {
            self.run_start.push(self.runs.len() as u32);
            if self.class[group] != MIXED {
                continue;
            }
            let range = self.children_of(group);
            let children = &mut self.children[range];
            self.sorter.sort(children);
            let alike = |a: &Child, b: &Child| a.class == b.class && a.class != MIXED;
            let runs = children.chunk_by(alike).map(|run| {
                let demand = run.iter().map(|child| units(child.claim.demand));
                let demand = demand.fold(0u64, u64::saturating_add);
                Run {
                    class: run[0].class,
                    len: run.len() as u32,
                    demand: demand.min(UNBOUNDED),
                }
            });
            self.runs.extend(runs);
        }
        self.run_start.push(self.runs.len() as u32);
    }

    /// The children of a group that is `MIXED`, in order.
    pub fn runs_of(&self, group: usize) -> &[Run] {
        &self.runs[self.run_start[group] as usize..self.run_start[group + 1] as usize]
    }
}

/// The group a task is in. One that does not exist is the root.
fn home(group: GroupId, count: usize) -> usize {
    if group.index() < count {
        group.index()
    } else {
        0
    }
}
