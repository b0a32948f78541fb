// SPDX-License-Identifier: GPL-2.0-only
//! Tasks that may use the same CPUs, and CPUs that the same tasks may use.
//! Never knows weights, demands or groups.

use super::units::{UNBOUNDED, capacity_units};
use super::{CpuCapacity, Problem};
use crate::affinity::{MaskTable, cpus_of, ones};
use crate::ids::{CpuId, MaskId};

/// No class: the mask holds no CPU of the problem.
pub(super) const NOWHERE: u32 = u32::MAX;

/// The classes of a problem. Masks that hold the same CPUs of the problem are
/// one class, whatever else they hold; CPUs in the same masks are one class.
/// Mask classes are ordered by size and then by what they hold, so they do not
/// depend on the ids of the masks.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// Number of mask classes.
    pub count: usize,
    /// Class of each mask in use.
    of_mask: Vec<u32>,
    /// Class of CPUs at each place of the problem's `cpus`.
    pub cpu_class: Vec<u32>,
    /// Capacity of each class of CPUs, in units.
    pub capacity: Vec<u64>,
    /// Where each mask class begins in `reach`, and the end of the last.
    start: Vec<u32>,
    /// The classes of CPUs of each mask class.
    reach: Vec<u32>,
    /// Whether every CPU with a capacity is in some mask.
    pub all_reached: bool,
    /// Whether any CPU has a capacity.
    pub has_capacity: bool,
    /// Σ capacity, in CPUs.
    pub total_capacity: f64,
    /// Σ capacity of the CPUs that are in some mask, in CPUs.
    pub reached_capacity: f64,
    /// Whether some mask in use is of class `NOWHERE`.
    any_nowhere: bool,
    /// Whether some task has a mask that the table does not.
    any_unknown: bool,
    /// Counts the builds that found other masks or CPUs than the last.
    pub version: u64,
    known: Known,
    /// Number of tasks of each mask class.
    pub sizes: Vec<u32>,
    scratch: Scratch,
}

/// What the classes were made of. It hardly ever changes from round to round,
/// and comparing is much cheaper than sorting.
#[derive(Debug, Default, PartialEq)]
struct Known {
    cpus: Vec<CpuId>,
    /// The masks in use, and the number of words of each.
    masks: Vec<(MaskId, Option<usize>)>,
    words: Vec<u64>,
    table: usize,
}

impl Known {
    /// Becomes what a problem is made of. Returns whether it was that already.
    fn update(&mut self, problem: &Problem<'_>, masks: &[MaskId]) -> bool {
        let words = |&mask: &MaskId| problem.masks.words(mask);
        let keys = || {
            masks
                .iter()
                .map(|mask| (*mask, words(mask).map(<[u64]>::len)))
        };
        let all = || masks.iter().filter_map(words).flatten().copied();
        let cpus = || problem.cpus.iter().map(|cpu| cpu.cpu);
        if self.table == problem.masks.len()
            && self.cpus.iter().copied().eq(cpus())
            && self.masks.iter().copied().eq(keys())
            && self.words.iter().copied().eq(all())
        {
            return true;
        }
        self.table = problem.masks.len();
        self.cpus.clear();
        self.cpus.extend(cpus());
        self.masks.clear();
        self.masks.extend(keys());
        self.words.clear();
        self.words.extend(all());
        false
    }
}

#[derive(Debug, Default)]
struct Scratch {
    /// Number of tasks with each mask.
    uses: Vec<u32>,
    masks: Vec<MaskId>,
    place: Vec<u32>,
    by_mask: Rows,
    by_cpu: Rows,
}

impl Classes {
    /// Finds the classes of a problem.
    pub fn build(&mut self, problem: &Problem<'_>) {
        self.find_used(problem);
        if self.version == 0 || !self.known.update(problem, &self.scratch.masks) {
            self.version += 1;
            self.known.update(problem, &self.scratch.masks);
            self.locate(problem.cpus);
            self.classify_masks(problem.masks, problem.cpus.len());
            self.classify_cpus(problem.cpus.len());
            self.connect();
        }
        self.measure(problem.cpus);
        self.count_tasks();
    }

    /// The class of a mask that a task of the problem has.
    pub fn of(&self, mask: MaskId) -> u32 {
        self.of_mask.get(mask.index()).copied().unwrap_or(NOWHERE)
    }

    /// The classes of CPUs that a mask class may use.
    pub fn reach(&self, class: usize) -> &[u32] {
        &self.reach[self.start[class] as usize..self.start[class + 1] as usize]
    }

    /// Whether all tasks may use the same CPUs, and at least one.
    pub fn is_uniform(&self) -> bool {
        self.count <= 1 && !self.any_nowhere && !self.any_unknown
    }

    /// Whether the CPU at this place of the problem's `cpus` is in some mask.
    pub fn is_reached(&self, cpu: usize) -> bool {
        self.cpu_class[cpu] != 0 || !self.scratch.by_cpu.first_is_empty()
    }

    fn find_used(&mut self, problem: &Problem<'_>) {
        let Scratch { uses, masks, .. } = &mut self.scratch;
        uses.clear();
        uses.resize(problem.masks.len(), 0);
        self.any_unknown = false;
        for task in problem.tasks {
            match uses.get_mut(task.mask.index()) {
                Some(uses) => *uses += 1,
                None => self.any_unknown = true,
            }
        }
        masks.clear();
        masks.extend(
            (0..)
                .map(MaskId)
                .zip(uses.iter())
                .filter_map(|(mask, &uses)| (uses > 0).then_some(mask)),
        );
    }

    fn count_tasks(&mut self) {
        self.sizes.clear();
        self.sizes.resize(self.count, 0);
        for &mask in &self.scratch.masks {
            let class = self.of(mask);
            // The class of masks without CPUs is no place in the list.
            if let Some(size) = self.sizes.get_mut(class as usize) {
                *size += self.scratch.uses[mask.index()];
            }
        }
    }

    /// Notes where in the problem each CPU is.
    fn locate(&mut self, cpus: &[CpuCapacity]) {
        let place = &mut self.scratch.place;
        place.clear();
        let ids = cpus.iter().map(|cpu| cpu.cpu.index() + 1).max();
        place.resize(ids.unwrap_or(0), u32::MAX);
        for (at, cpu) in (0..).zip(cpus) {
            place[cpu.cpu.index()] = at;
        }
    }

    fn classify_masks(&mut self, table: &MaskTable, nr_cpus: usize) {
        let Scratch {
            masks,
            place,
            by_mask,
            ..
        } = &mut self.scratch;
        by_mask.clear(masks.len(), nr_cpus);
        for (row, &mask) in masks.iter().enumerate() {
            if mask == MaskId::ANYWHERE {
                (0..nr_cpus).for_each(|cpu| by_mask.set(row, cpu));
            }
            for cpu in cpus_of(table.words(mask).unwrap_or(&[])) {
                if let Some(&at) = place.get(cpu.index())
                    && at != u32::MAX
                {
                    by_mask.set(row, at as usize);
                }
            }
        }
        by_mask.rank();
        self.of_mask.clear();
        self.of_mask.resize(table.len(), NOWHERE);
        // The empty row, if there is one, has rank 0.
        let empty = by_mask.first_is_empty();
        self.any_nowhere = empty;
        self.count = by_mask.ranks - usize::from(empty);
        for (&mask, &rank) in masks.iter().zip(&by_mask.rank) {
            self.of_mask[mask.index()] = if empty { rank.wrapping_sub(1) } else { rank };
        }
    }

    fn classify_cpus(&mut self, cpus: usize) {
        let Scratch {
            masks,
            by_mask,
            by_cpu,
            ..
        } = &mut self.scratch;
        by_cpu.clear(cpus, self.count);
        for (row, mask) in masks.iter().enumerate() {
            let class = self.of_mask[mask.index()];
            if class != NOWHERE {
                for cpu in by_mask.members(row) {
                    by_cpu.set(cpu, class as usize);
                }
            }
        }
        by_cpu.rank();
        self.cpu_class.clone_from(&by_cpu.rank);
    }

    /// Adds up what the CPUs can hand out.
    fn measure(&mut self, cpus: &[CpuCapacity]) {
        self.capacity.clear();
        self.capacity.resize(self.scratch.by_cpu.ranks, 0);
        (self.all_reached, self.has_capacity) = (true, false);
        (self.total_capacity, self.reached_capacity) = (0.0, 0.0);
        for (at, cpu) in cpus.iter().enumerate() {
            let capacity = capacity_units(cpu.capacity);
            let sum = &mut self.capacity[self.cpu_class[at] as usize];
            *sum = (*sum + capacity).min(UNBOUNDED);
            self.has_capacity |= capacity > 0;
            self.total_capacity += cpu.capacity.max(0.0);
            if self.is_reached(at) {
                self.reached_capacity += cpu.capacity.max(0.0);
            } else {
                self.all_reached &= capacity == 0;
            }
        }
    }

    /// Lists the classes of CPUs of each mask class.
    fn connect(&mut self) {
        let by_cpu = &self.scratch.by_cpu;
        // Each class of CPUs is represented by the first in rank order.
        let firsts = || by_cpu.representatives();
        self.start.clear();
        self.start.resize(self.count + 2, 0);
        for (_, cpu) in firsts() {
            for class in by_cpu.members(cpu) {
                self.start[class + 2] += 1;
            }
        }
        for class in 0..self.count {
            self.start[class + 2] += self.start[class + 1];
        }
        self.reach.clear();
        self.reach.resize(self.start[self.count + 1] as usize, 0);
        for (rank, cpu) in firsts() {
            for class in by_cpu.members(cpu) {
                let next = &mut self.start[class + 1];
                self.reach[*next as usize] = rank;
                *next += 1;
            }
        }
        self.start.truncate(self.count + 1);
    }
}

/// Sets of small numbers, and which of them are equal.
#[derive(Debug, Default)]
struct Rows {
    words_per_row: usize,
    words: Vec<u64>,
    /// The rows by size, then by what they hold.
    order: Vec<u32>,
    /// Place of each row among the distinct ones in that order.
    rank: Vec<u32>,
    /// Number of distinct rows.
    ranks: usize,
}

impl Rows {
    fn clear(&mut self, rows: usize, bits: usize) {
        // Without bits the rows still exist, and are equal.
        self.words_per_row = bits.div_ceil(64).max(1);
        self.words.clear();
        self.words.resize(rows * self.words_per_row, 0);
        self.rank.clear();
        self.rank.resize(rows, 0);
    }

    fn set(&mut self, row: usize, bit: usize) {
        self.words[row * self.words_per_row + bit / 64] |= 1 << (bit % 64);
    }

    fn row(&self, row: usize) -> &[u64] {
        &self.words[row * self.words_per_row..][..self.words_per_row]
    }

    fn members(&self, row: usize) -> impl Iterator<Item = usize> {
        ones(self.row(row))
    }

    fn rank(&mut self) {
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend((0..).take(self.rank.len()));
        // The sizes go where the ranks will be, to be counted once.
        for row in 0..self.rank.len() {
            self.rank[row] = self.row(row).iter().map(|word| word.count_ones()).sum();
        }
        let size = |row: u32| self.rank[row as usize];
        let row = |row: u32| self.row(row as usize);
        order.sort_unstable_by(|&a, &b| {
            size(a)
                .cmp(&size(b))
                .then_with(|| row(a).cmp(row(b)))
                .then(a.cmp(&b))
        });
        self.order = order;
        self.ranks = 0;
        let mut last = None;
        for at in 0..self.order.len() {
            let row = self.order[at] as usize;
            if last.is_none_or(|last| self.row(last) != self.row(row)) {
                self.ranks += 1;
            }
            last = Some(row);
            self.rank[row] = self.ranks as u32 - 1;
        }
    }

    /// Whether the row of rank 0 exists and has no members.
    fn first_is_empty(&self) -> bool {
        self.order
            .first()
            .is_some_and(|&row| self.members(row as usize).next().is_none())
    }

    /// One row of each rank, with its rank, in order of rank.
    fn representatives(&self) -> impl Iterator<Item = (u32, usize)> {
        let mut next = 0;
        self.order.iter().filter_map(move |&row| {
            let rank = self.rank[row as usize];
            (rank == next).then(|| {
                next += 1;
                (rank, row as usize)
            })
        })
    }
}
