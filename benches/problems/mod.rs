// SPDX-License-Identifier: GPL-2.0-only
//! Entitlement problems of a large server, and of what could be asked at worst.
//! Never random between runs: the same size makes the same problem.

use scx_ballast::affinity::MaskTable;
use scx_ballast::entitlement::{CpuCapacity, Group, Problem, TaskClaim};
use scx_ballast::ids::{CpuId, GroupId, MaskId};
use scx_ballast::weight::weight_of_nice;

use crate::sequence::Sequence;

/// 8 nodes of 16 domains of 8 CPUs.
pub const CPUS: u32 = 1024;
const NODE: u32 = 128;
const DOMAIN: u32 = 8;

/// A problem that owns what it is made of.
pub struct Instance {
    cpus: Vec<CpuCapacity>,
    masks: MaskTable,
    groups: Vec<Group>,
    tasks: Vec<TaskClaim>,
}

impl Instance {
    /// `count` tasks that want half as much again as there is.
    pub fn uniform(count: usize, cpus: u32) -> Instance {
        let mut sequence = Sequence(1);
        let most = (3.0 * f64::from(cpus) / count as f64).min(1.0);
        let task = |_| TaskClaim {
            weight: weight_of_nice(sequence.below(40) as i32 - 20),
            demand: (sequence.part() + 1e-6).min(1.0) * most,
            mask: MaskId::ANYWHERE,
            group: GroupId::ROOT,
        };
        let cpu = |cpu| CpuCapacity {
            cpu: CpuId(cpu),
            capacity: 1.0,
        };
        Instance {
            cpus: (0..cpus).map(cpu).collect(),
            masks: MaskTable::default(),
            groups: Vec::new(),
            tasks: (0..count).map(task).collect(),
        }
    }

    /// Confines them to nodes, halves of nodes and domains, a fifth of them
    /// nowhere in particular; `pins`: some to single CPUs. Low numbers are more
    /// crowded.
    pub fn nested(mut self, pins: bool) -> Instance {
        let mut sequence = Sequence(3);
        let sizes = [CPUS, NODE, NODE / 2, DOMAIN, if pins { 1 } else { DOMAIN }];
        for task in &mut self.tasks {
            let size = sizes[sequence.below(5) as usize];
            let sets = u64::from(CPUS / size);
            let last = sequence.below(sets) + 1;
            let first = sequence.below(last) as u32 * size;
            task.mask = self.masks.intern_cpus((first..first + size).map(CpuId));
        }
        self
    }

    /// Confines them to so many sets of CPUs at random, of all sizes.
    pub fn arbitrary(mut self, sets: u64) -> Instance {
        let mut sequence = Sequence(4);
        let cpus = self.cpus.len() as u64;
        let mut ids = Vec::new();
        for _ in 0..sets {
            let size = 1 << sequence.below(u64::from(cpus.ilog2()));
            let set = (0..size).map(|_| CpuId(sequence.below(cpus) as u32));
            ids.push(self.masks.intern_cpus(set.collect::<Vec<_>>()));
        }
        for task in &mut self.tasks {
            task.mask = ids[sequence.below(sets) as usize];
        }
        self
    }

    /// Puts them into so many groups on three levels, a fifth of which have
    /// quotas.
    pub fn grouped(mut self, count: u32) -> Instance {
        let mut sequence = Sequence(5);
        let parent = |id: u32| match id {
            0..=10 => 0,
            _ if id <= count / 10 + 10 => 1 + id % 10,
            _ => 11 + id % (count / 10),
        };
        let group = |id| Group {
            parent: GroupId(parent(id)),
            weight: (1 + sequence.below(10_000)) as f64,
            quota: if id % 5 == 1 {
                1.0 + f64::from(CPUS) * sequence.part() / f64::from(count)
            } else {
                f64::INFINITY
            },
        };
        self.groups = (0..=count).map(group).collect();
        for task in &mut self.tasks {
            task.group = GroupId(sequence.below(u64::from(count)) as u32 + 1);
        }
        self
    }

    /// Confines every group to a set of CPUs of its own, as containers are.
    pub fn cpusets(mut self) -> Instance {
        let mut sequence = Sequence(6);
        let sets: Vec<MaskId> = (0..self.groups.len())
            .map(|_| {
                let size = [CPUS, NODE, NODE / 2, DOMAIN][sequence.below(4) as usize];
                let first = sequence.below(u64::from(CPUS / size)) as u32 * size;
                self.masks.intern_cpus((first..first + size).map(CpuId))
            })
            .collect();
        for task in &mut self.tasks {
            task.mask = sets[task.group.index()];
        }
        self
    }

    pub fn problem(&self) -> Problem<'_> {
        Problem {
            cpus: &self.cpus,
            masks: &self.masks,
            groups: &self.groups,
            tasks: &self.tasks,
        }
    }

    /// What the water-fill walks by: the level that meets each task.
    pub fn pairs(&self) -> Vec<(f64, u32)> {
        let ratios = self.tasks.iter().map(|task| task.demand / task.weight);
        ratios.zip(0..).collect()
    }
}
