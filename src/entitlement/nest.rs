// SPDX-License-Identifier: GPL-2.0-only
//! Masks that are nested: which of them can stand in the way at all.
//! Never decides what anybody gets.
//!
//! Sets are nested if of any two that share CPUs one holds the other, as CPUs,
//! domains, nodes and cpusets mostly do. Then they are a tree, and what is
//! possible is: in every set, the tasks confined to it get at most what it has.
//! A set that has as much as they could ever get there says nothing new by that, and its
//! tasks may as well be confined to the next set around it alone.

use super::classes::{NOWHERE, Sets};
use super::units::UNBOUNDED;

/// The tree of the mask classes, if they are nested. Its root holds all of them:
/// the largest class, or another without tasks.
#[derive(Debug, Default)]
pub(super) struct Nest {
    is_nested: bool,
    /// The next class around each; of no meaning for the root, which is the last.
    around: Vec<u32>,
    /// The smallest class that holds each class of CPUs, or `NOWHERE`.
    smallest: Vec<u32>,
    /// What is in each class: what tasks confined to it could use, and what its CPUs
    /// can hand out, in units.
    demand: Vec<u64>,
    capacity: Vec<u64>,
    /// The class that each became, and whether it kept it to itself the last time.
    merged: Vec<u32>,
    is_kept: Vec<bool>,
    /// The class that each class of CPUs became.
    merged_cpus: Vec<u32>,
}

impl Nest {
    /// Whether the classes are nested.
    pub fn is_nested(&self) -> bool {
        self.is_nested
    }

    /// Sorts mask classes, which must be in order of size, into a tree. `unreached`:
    /// the class of CPUs that are in no mask.
    pub fn build(&mut self, sets: &Sets, unreached: Option<u32>) {
        let root = sets.masks as u32;
        self.smallest.clear();
        self.smallest.resize(sets.cpus, root);
        if let Some(class) = unreached {
            self.smallest[class as usize] = NOWHERE;
        }
        self.around.clear();
        self.around.resize(sets.masks, root);
        self.is_nested = sets.masks > 0;
        // The largest come first: who held a class of CPUs last is next around it.
        for class in (0..sets.masks).rev() {
            let reach = sets.reach(class);
            let around = self.smallest[reach[0] as usize];
            self.around[class] = around;
            for &cpus in reach {
                let smallest = &mut self.smallest[cpus as usize];
                self.is_nested &= *smallest == around;
                *smallest = class as u32;
            }
        }
        // The largest is the root if it holds all others.
        let in_root = self.around.iter().filter(|around| **around == root);
        if in_root.count() > 1 {
            self.around.push(root);
        }
        self.is_kept.clear();
    }

    /// Merges classes that stand in nobody's way with the next ones around them.
    /// `demands`: mask classes, or `NOWHERE`, with what tasks could use; `capacity`:
    /// that of the classes of CPUs. Returns whether others are merged than before.
    pub fn merge(
        &mut self,
        sets: &Sets,
        demands: impl Iterator<Item = (u32, u64)>,
        capacity: &mut Vec<u64>,
        merged: &mut Sets,
    ) -> bool {
        self.add_up(demands, capacity);
        let has_changed = self.choose();
        if has_changed {
            self.rename(sets, merged);
        }
        self.merge_capacity(merged.cpus, capacity);
        has_changed
    }

    /// Adds up what is in each class, from the smallest.
    fn add_up(&mut self, demands: impl Iterator<Item = (u32, u64)>, capacity: &[u64]) {
        for amounts in [&mut self.demand, &mut self.capacity] {
            amounts.clear();
            amounts.resize(self.around.len(), 0);
        }
        for (class, demand) in demands {
            if class != NOWHERE {
                add(&mut self.demand[class as usize], demand);
            }
        }
        for (&class, &capacity) in self.smallest.iter().zip(capacity) {
            if class != NOWHERE {
                add(&mut self.capacity[class as usize], capacity);
            }
        }
        for class in 0..self.around.len() - 1 {
            let around = self.around[class] as usize;
            let most = self.demand[class].min(self.capacity[class]);
            add(&mut self.demand[around], most);
            let capacity = self.capacity[class];
            add(&mut self.capacity[around], capacity);
        }
    }

    /// Chooses the classes that may stand in the way: their tasks could use more than
    /// they have. Returns whether these are others than before.
    fn choose(&mut self) -> bool {
        let root = self.around.len() - 1;
        let mut has_changed = self.is_kept.len() != self.around.len();
        self.is_kept.resize(self.around.len(), false);
        for (class, is_kept) in self.is_kept.iter_mut().enumerate() {
            let keep = class == root
                || self.demand[class] > self.capacity[class]
                || self.demand[class] == UNBOUNDED;
            has_changed |= std::mem::replace(is_kept, keep) != keep;
        }
        has_changed
    }

    /// Writes what the classes became, the largest first.
    fn rename(&mut self, sets: &Sets, merged: &mut Sets) {
        let mut count = 0;
        self.merged.clear();
        self.merged.resize(self.around.len(), 0);
        for class in (0..self.around.len()).rev() {
            self.merged[class] = match self.is_kept[class] {
                true => count,
                false => self.merged[self.around[class] as usize],
            };
            count += u32::from(self.is_kept[class]);
        }
        let name = |class: &u32| match *class {
            NOWHERE => NOWHERE,
            class => self.merged[class as usize],
        };
        merged.masks = count as usize;
        merged.of_mask.clear();
        merged.of_mask.extend(sets.of_mask.iter().map(name));
        // There is a class of CPUs for each mask class, and one for those in none.
        merged.cpus = merged.masks + 1;
        self.merged_cpus.clear();
        let smallest = self.smallest.iter().map(name);
        self.merged_cpus
            .extend(smallest.map(|class| class.min(count)));
        let cpus = sets.of_cpu.iter();
        merged.of_cpu.clear();
        merged
            .of_cpu
            .extend(cpus.map(|&class| self.merged_cpus[class as usize]));
        self.connect(merged);
    }

    /// Lists the classes of CPUs in each class: its own and those of all it holds.
    fn connect(&self, merged: &mut Sets) {
        let kept = (0..self.around.len()).rev();
        let kept = kept.filter(|&class| self.is_kept[class]);
        let pairs = kept.flat_map(|class| {
            let name = self.merged[class];
            let root = self.around.len() - 1;
            let around = std::iter::successors(Some(class), move |&class| {
                (class != root).then(|| self.around[class] as usize)
            });
            let kept = around.filter(|&class| self.is_kept[class]);
            kept.map(move |class| (self.merged[class], name))
        });
        merged.connect(pairs);
    }

    fn merge_capacity(&mut self, count: usize, capacity: &mut Vec<u64>) {
        self.capacity.clear();
        self.capacity.resize(count, 0);
        for (&class, &capacity) in self.merged_cpus.iter().zip(&*capacity) {
            add(&mut self.capacity[class as usize], capacity);
        }
        capacity.clone_from(&self.capacity);
    }
}

fn add(sum: &mut u64, amount: u64) {
    *sum = sum.saturating_add(amount).min(UNBOUNDED);
}
