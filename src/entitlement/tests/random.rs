// SPDX-License-Identifier: GPL-2.0-only
//! Random problems, and what every outcome must satisfy.
//! Never solves anything.

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Instance, ROOT};
use crate::entitlement::*;

/// How large random instances are at most.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub cpus: u32,
    pub masks: usize,
    pub groups: usize,
    pub tasks: usize,
}

/// Small enough for the oracle.
pub(super) const TINY: Size = Size {
    cpus: 4,
    masks: 4,
    groups: 0,
    tasks: 6,
};

/// Small enough for 10,000 cases.
pub(super) const SMALL: Size = Size {
    cpus: 12,
    masks: 10,
    groups: 6,
    tasks: 50,
};

pub(super) fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![
        Just(1.0),
        Just(2.0),
        (1..20u32).prop_map(f64::from),
        0.5..100.0f64
    ]
}

fn demand() -> impl Strategy<Value = f64> {
    prop_oneof![4 => Just(1.0), 1 => Just(0.0), 1 => Just(0.5), 2 => 0.0..1.0f64]
}

/// CPUs of capacity 1 mostly, with gaps between their ids.
fn cpus(most: u32) -> impl Strategy<Value = Vec<CpuCapacity>> {
    let capacity = prop_oneof![6 => Just(1.0), 1 => Just(0.0), 1 => 0.0..1.0f64];
    let cpu = |(id, capacity)| CpuCapacity {
        cpu: CpuId(3 * id),
        capacity,
    };
    let some = prop::collection::vec(capacity, 1..=most as usize);
    some.prop_map(move |some| (0u32..).zip(some).map(cpu).collect())
}

/// Sets of CPUs, some of which are not in the problem.
fn masks(cpus: u32, count: usize) -> impl Strategy<Value = Vec<Vec<CpuId>>> {
    let any = prop::collection::vec(0..=cpus, 0..=cpus as usize);
    let few = prop::collection::vec(0..cpus, 1..=2);
    let range = (0..cpus, 1..=cpus).prop_map(|(first, len)| (first..first + len).collect());
    let set = prop_oneof![any, few, range];
    let set = set.prop_map(|set: Vec<u32>| set.into_iter().map(|id| CpuId(3 * id)).collect());
    prop::collection::vec(set, 0..=count)
}

fn groups(most: usize) -> impl Strategy<Value = Vec<Group>> {
    let quota = prop_oneof![3 => Just(f64::INFINITY), 1 => Just(0.0), 2 => 0.0..4.0f64];
    let group = (any::<Index>(), weight(), quota);
    prop::collection::vec(group, 0..=most).prop_map(|some| {
        let mut groups = vec![ROOT];
        for (parent, weight, quota) in some {
            let parent = GroupId(parent.index(groups.len()) as u32);
            groups.push(Group {
                parent,
                weight,
                quota,
            });
        }
        groups
    })
}

pub(super) fn instance(size: Size) -> impl Strategy<Value = Instance> {
    let task = (weight(), demand(), any::<Index>(), any::<Index>());
    let tasks = prop::collection::vec(task, 0..=size.tasks);
    let parts = (
        cpus(size.cpus),
        masks(size.cpus, size.masks),
        groups(size.groups),
        tasks,
    );
    parts.prop_map(|(cpus, sets, groups, tasks)| {
        let mut masks = MaskTable::default();
        let mut ids = vec![MaskId::ANYWHERE];
        ids.extend(sets.into_iter().map(|set| masks.intern_cpus(set)));
        let task = |(weight, demand, mask, group): (f64, f64, Index, Index)| TaskClaim {
            weight,
            demand,
            mask: *mask.get(&ids),
            group: GroupId(group.index(groups.len()) as u32),
        };
        let tasks = tasks.into_iter().map(task).collect();
        Instance {
            cpus,
            masks,
            groups,
            tasks,
        }
    })
}

/// The instance with its tasks in another order, and where each came from.
pub(super) fn shuffled(size: Size) -> impl Strategy<Value = (Instance, Vec<usize>)> {
    instance(size).prop_flat_map(|instance| {
        let places: Vec<usize> = (0..instance.tasks.len()).collect();
        (Just(instance), Just(places).prop_shuffle())
    })
}

/// What a task could use if all CPUs were its own.
pub(super) fn demand_of(instance: &Instance, task: usize) -> f64 {
    let TaskClaim { demand, mask, .. } = instance.tasks[task];
    let is_there = instance
        .cpus
        .iter()
        .any(|cpu| instance.masks.contains(mask, cpu.cpu));
    if is_there { demand } else { 0.0 }
}

/// Whether the CPUs can carry the shares, and who could displace whom: for
/// each task, all tasks and all CPUs with room that it could get to.
pub(super) struct Routing {
    /// What each task gets of each CPU.
    flow: Vec<Vec<f64>>,
    room: Vec<f64>,
}

/// Amounts below this are rounding.
const ROUNDING: f64 = 1e-9;

impl Routing {
    /// Routes the shares by augmenting paths. `None`: that is not possible.
    pub fn find(instance: &Instance, shares: &[f64]) -> Option<Routing> {
        let room = instance.cpus.iter().map(|cpu| cpu.capacity).collect();
        let flow = vec![vec![0.0; instance.cpus.len()]; shares.len()];
        let mut routing = Routing { flow, room };
        for (task, &share) in shares.iter().enumerate() {
            let mut left = share;
            while left > ROUNDING {
                left -= routing.augment(instance, task, left)?;
            }
        }
        Some(routing)
    }

    /// Gives a task more, of a CPU with room or by displacing others.
    fn augment(&mut self, instance: &Instance, task: usize, most: f64) -> Option<f64> {
        let (before, order) = self.search(instance, task, 1e-13);
        let cpu = order.into_iter().find(|&cpu| self.room[cpu] > 1e-13)?;
        // The way back: who gets this CPU, and which he gives up for it.
        let (mut steps, mut at, mut amount) = (Vec::new(), cpu, most.min(self.room[cpu]));
        while let Some((who, from)) = before[at] {
            steps.push((who, at, from));
            let Some(from) = from else { break };
            amount = amount.min(self.flow[who][from]);
            at = from;
        }
        self.room[cpu] -= amount;
        for (who, to, from) in steps {
            self.flow[who][to] += amount;
            if let Some(from) = from {
                self.flow[who][from] -= amount;
            }
        }
        Some(amount)
    }

    /// For each CPU that a task can get to, who would move there and the CPU he
    /// would leave; and those CPUs, nearest first.
    #[allow(clippy::type_complexity)]
    fn search(
        &self,
        instance: &Instance,
        task: usize,
        least: f64,
    ) -> (Vec<Option<(usize, Option<usize>)>>, Vec<usize>) {
        let may = |task: usize, cpu: usize| {
            instance
                .masks
                .contains(instance.tasks[task].mask, instance.cpus[cpu].cpu)
        };
        let cpus = instance.cpus.len();
        let mut before = vec![None; cpus];
        let mut order: Vec<usize> = (0..cpus).filter(|&cpu| may(task, cpu)).collect();
        order
            .iter()
            .for_each(|&cpu| before[cpu] = Some((task, None)));
        let mut at = 0;
        while let Some(&from) = order.get(at) {
            at += 1;
            for who in 0..self.flow.len() {
                if self.flow[who][from] <= least {
                    continue;
                }
                for (cpu, before) in before.iter_mut().enumerate() {
                    if may(who, cpu) && before.is_none() {
                        *before = Some((who, Some(from)));
                        order.push(cpu);
                    }
                }
            }
        }
        (before, order)
    }

    /// The tasks that a task could displace, directly or through others, and
    /// the room on the CPUs it could get to.
    pub fn reach(&self, instance: &Instance, task: usize) -> (Vec<usize>, f64) {
        let (_, cpus) = self.search(instance, task, ROUNDING);
        let gets = |who: &usize| cpus.iter().any(|&cpu| self.flow[*who][cpu] > ROUNDING);
        let who = (0..self.flow.len()).filter(gets).collect();
        (who, cpus.iter().map(|&cpu| self.room[cpu]).sum())
    }
}
