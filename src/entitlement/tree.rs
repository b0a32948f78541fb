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
    by_class: Vec<u32>,
    counts: Vec<u32>,
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
        self.sort_by_class(problem, classes);
        self.sort_by_group(problem);
    }

    /// Number of groups, at least 1.
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Where the children of a group are in `children`.
    pub fn children_of(&self, group: usize) -> Range<usize> {
        self.start[group] as usize..self.start[group + 1] as usize
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

    /// Computes what the groups could use, from the leaves up.
    fn add_up(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let count = self.len();
        for amounts in [&mut self.sum, &mut self.demand] {
            amounts.clear();
            amounts.resize(count, 0);
        }
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

    fn add(&mut self, group: usize, class: u32, demand: u64) {
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

    /// Puts the ids of all children in order of class, by counting.
    fn sort_by_class(&mut self, problem: &Problem<'_>, classes: &Classes) {
        let key = |class: u32| match class {
            MIXED => classes.count,
            class => class as usize,
        };
        let class_of_group = &self.class;
        let all = || {
            let tasks = problem.tasks.iter().map(|task| classes.of(task.mask));
            let groups = class_of_group.iter().enumerate();
            // The root is nobody's child.
            let groups = groups.map(|(group, &class)| if group == 0 { NOWHERE } else { class });
            (0..)
                .zip(tasks.chain(groups))
                .filter(|&(_, class)| class != NOWHERE)
        };
        self.counts.clear();
        self.counts.resize(classes.count + 2, 0);
        for (_, class) in all() {
            self.counts[key(class) + 1] += 1;
        }
        for at in 1..self.counts.len() {
            self.counts[at] += self.counts[at - 1];
        }
        self.by_class.clear();
        self.by_class
            .resize(self.counts[classes.count + 1] as usize, 0);
        for (id, class) in all() {
            let next = &mut self.counts[key(class)];
            self.by_class[*next as usize] = id;
            *next += 1;
        }
        // Each count is now the end of its class.
    }

    /// Puts the children in order of group, and of class inside it.
    fn sort_by_group(&mut self, problem: &Problem<'_>) {
        let count = self.len();
        let (tasks, parent) = (self.tasks as usize, &self.parent);
        let group_of = |id: u32| match problem.tasks.get(id as usize) {
            Some(task) => home(task.group, count),
            None => parent[id as usize - tasks] as usize,
        };
        self.start.clear();
        self.start.resize(count + 2, 0);
        for &id in &self.by_class {
            self.start[group_of(id) + 2] += 1;
        }
        for at in 2..self.start.len() {
            self.start[at] += self.start[at - 1];
        }
        let mut children = std::mem::take(&mut self.children);
        children.clear();
        children.resize(
            self.by_class.len(),
            Child {
                claim: Claim::NONE,
                class: NOWHERE,
                id: 0,
            },
        );
        let (mut class, mut end) = (0, self.counts.first().copied().unwrap_or(0));
        for (at, &id) in (0..).zip(&self.by_class) {
            while at >= end {
                class += 1;
                end = self.counts[class];
            }
            let mixed = class + 2 == self.counts.len();
            let claim = match problem.tasks.get(id as usize) {
                Some(task) => task.claim().sane(),
                None => self.claim(problem, id as usize - tasks),
            };
            let next = &mut self.start[group_of(id) + 1];
            children[*next as usize] = Child {
                claim,
                class: if mixed { MIXED } else { class as u32 },
                id,
            };
            *next += 1;
        }
        self.start.truncate(count + 1);
        self.children = children;
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
