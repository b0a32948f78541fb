// SPDX-License-Identifier: GPL-2.0-only
//! Tasks that may use the same CPUs, and CPUs that the same tasks may use.
//! Never knows weights or groups, nor who wants what: only how much a mask could.

use super::nest::Nest;
use super::units::{UNBOUNDED, capacity_units, units};
use super::{CpuCapacity, Problem};
use crate::affinity::{MaskTable, cpus_of, ones};
use crate::ids::{CpuId, MaskId};

/// No class: the mask holds no CPU of the problem.
pub(super) const NOWHERE: u32 = u32::MAX;

/// The classes of a problem. Masks that hold the same CPUs of the problem are
/// one class, whatever else they hold, and so are those of which [`Nest`] knows
/// that it makes no difference; CPUs in the same masks are one class.
#[derive(Debug, Default)]
pub(super) struct Classes {
    /// By what the masks hold.
    exact: Sets,
    nest: Nest,
    /// By what makes a difference, if masks are nested.
    merged: Sets,
    /// Capacity of each class of CPUs, in units.
    pub capacity: Vec<u64>,
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
    /// Counts the builds that found other sets than the last.
    pub version: u64,
    known: Known,
    /// Number of tasks of each mask class.
    pub sizes: Vec<u32>,
    scratch: Scratch,
}

/// Classes of masks and of CPUs, and which may use which.
#[derive(Debug, Default)]
pub(super) struct Sets {
    /// Number of mask classes, and of classes of CPUs.
    pub masks: usize,
    pub cpus: usize,
    /// Class of each mask in use.
    pub of_mask: Vec<u32>,
    /// Class of CPUs at each place of the problem's `cpus`.
    pub of_cpu: Vec<u32>,
    /// Where each mask class begins in `reach`, and the end of the last.
    start: Vec<u32>,
    /// The classes of CPUs of each mask class.
    reach: Vec<u32>,
}

impl Sets {
    /// The classes of CPUs that a mask class may use.
    pub fn reach(&self, class: usize) -> &[u32] {
        &self.reach[self.start[class] as usize..self.start[class + 1] as usize]
    }

    /// Lists which classes of CPUs each mask class may use: pairs of the one and the
    /// other, in order of the latter.
    pub fn connect(&mut self, pairs: impl Iterator<Item = (u32, u32)> + Clone) {
        self.start.clear();
        self.start.resize(self.masks + 2, 0);
        for (mask, _) in pairs.clone() {
            self.start[mask as usize + 2] += 1;
        }
        for class in 0..self.masks {
            self.start[class + 2] += self.start[class + 1];
        }
        self.reach.clear();
        self.reach.resize(self.start[self.masks + 1] as usize, 0);
        for (mask, cpus) in pairs {
            let next = &mut self.start[mask as usize + 1];
            self.reach[*next as usize] = cpus;
            *next += 1;
        }
        self.start.truncate(self.masks + 1);
    }
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
    /// Of each mask.
    uses: Vec<Use>,
    masks: Vec<MaskId>,
    place: Vec<u32>,
    by_mask: Rows,
    by_cpu: Rows,
}

/// The tasks with a mask.
#[derive(Clone, Copy, Debug, Default)]
struct Use {
    count: u32,
    /// What they could use, in CPUs; not told where there is but one mask.
    demand: f64,
}

impl Classes {
    /// Finds the classes of a problem.
    pub fn build(&mut self, problem: &Problem<'_>) {
        self.find_used(problem);
        let mut is_new = false;
        if self.version == 0 || !self.known.update(problem, &self.scratch.masks) {
            is_new = true;
            self.known.update(problem, &self.scratch.masks);
            self.locate(problem.cpus);
            self.classify_masks(problem.masks, problem.cpus.len());
            self.classify_cpus(problem.cpus.len());
            self.connect();
            self.nest.build(&self.exact, self.unreached());
        }
        self.measure(problem.cpus);
        is_new |= self.merge();
        self.version += u64::from(is_new);
        self.count_tasks();
    }

    /// The classes that make a difference.
    pub fn sets(&self) -> &Sets {
        match self.nest.is_nested() {
            true => &self.merged,
            false => &self.exact,
        }
    }

    /// The class of a mask that a task of the problem has.
    pub fn of(&self, mask: MaskId) -> u32 {
        let class = self.sets().of_mask.get(mask.index());
        class.copied().unwrap_or(NOWHERE)
    }

    /// Whether it makes no difference which CPUs tasks may use, and each may use one.
    pub fn is_uniform(&self) -> bool {
        self.sets().masks <= 1 && !self.any_nowhere && !self.any_unknown
    }

    /// Whether the CPU at this place of the problem's `cpus` is in some mask.
    pub fn is_reached(&self, cpu: usize) -> bool {
        Some(self.exact.of_cpu[cpu]) != self.unreached()
    }

    /// The class of the CPUs that are in no mask, by what masks hold.
    fn unreached(&self) -> Option<u32> {
        self.scratch.by_cpu.first_is_empty().then_some(0)
    }

    fn find_used(&mut self, problem: &Problem<'_>) {
        let Scratch { uses, masks, .. } = &mut self.scratch;
        uses.clear();
        uses.resize(problem.masks.len(), Use::default());
        self.any_unknown = false;
        let is_one = problem.masks.len() == 1;
        for task in problem.tasks {
            let Some(uses) = uses.get_mut(task.mask.index()) else {
                self.any_unknown = true;
                continue;
            };
            uses.count += 1;
            if !is_one {
                uses.demand += task.claim().sane().demand;
            }
        }
        masks.clear();
        masks.extend(
            (0..)
                .map(MaskId)
                .zip(uses.iter())
                .filter_map(|(mask, uses)| (uses.count > 0).then_some(mask)),
        );
    }

    /// Merges what makes no difference. Returns whether that is not what it was.
    fn merge(&mut self) -> bool {
        if !self.nest.is_nested() {
            return false;
        }
        let Scratch { masks, uses, .. } = &self.scratch;
        let demands = masks.iter().map(|mask| {
            let class = self.exact.of_mask[mask.index()];
            (class, units(uses[mask.index()].demand))
        });
        self.nest
            .merge(&self.exact, demands, &mut self.capacity, &mut self.merged)
    }

    fn count_tasks(&mut self) {
        self.sizes.clear();
        self.sizes.resize(self.sets().masks, 0);
        for &mask in &self.scratch.masks {
            let class = self.of(mask);
            // The class of masks without CPUs is no place in the list.
            if let Some(size) = self.sizes.get_mut(class as usize) {
                *size += self.scratch.uses[mask.index()].count;
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
        let of_mask = &mut self.exact.of_mask;
        of_mask.clear();
        of_mask.resize(table.len(), NOWHERE);
        // The empty row, if there is one, has rank 0.
        let empty = by_mask.first_is_empty();
        self.any_nowhere = empty;
        self.exact.masks = by_mask.ranks - usize::from(empty);
        for (&mask, &rank) in masks.iter().zip(&by_mask.rank) {
            of_mask[mask.index()] = if empty { rank.wrapping_sub(1) } else { rank };
        }
    }

    fn classify_cpus(&mut self, cpus: usize) {
        let Scratch {
            masks,
            by_mask,
            by_cpu,
            ..
        } = &mut self.scratch;
        by_cpu.clear(cpus, self.exact.masks);
        for (row, mask) in masks.iter().enumerate() {
            let class = self.exact.of_mask[mask.index()];
            if class != NOWHERE {
                for cpu in by_mask.members(row) {
                    by_cpu.set(cpu, class as usize);
                }
            }
        }
        by_cpu.rank();
        self.exact.cpus = by_cpu.ranks;
        self.exact.of_cpu.clone_from(&by_cpu.rank);
    }

    /// Adds up what the CPUs can hand out.
    fn measure(&mut self, cpus: &[CpuCapacity]) {
        self.capacity.clear();
        self.capacity.resize(self.exact.cpus, 0);
        (self.all_reached, self.has_capacity) = (true, false);
        (self.total_capacity, self.reached_capacity) = (0.0, 0.0);
        for (at, cpu) in cpus.iter().enumerate() {
            let capacity = capacity_units(cpu.capacity);
            let sum = &mut self.capacity[self.exact.of_cpu[at] as usize];
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

    /// Lists the classes of CPUs of each mask class, by what masks hold.
    fn connect(&mut self) {
        let by_cpu = &self.scratch.by_cpu;
        // Each class of CPUs is represented by the first in rank order.
        let pairs = by_cpu.representatives().flat_map(|(rank, cpu)| {
            let masks = by_cpu.members(cpu);
            masks.map(move |mask| (mask as u32, rank))
        });
        self.exact.connect(pairs);
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

    fn members(&self, row: usize) -> impl Iterator<Item = usize> + Clone {
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
    fn representatives(&self) -> impl Iterator<Item = (u32, usize)> + Clone {
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
