// SPDX-License-Identifier: GPL-2.0-only
//! Tests of entitlements against oracles written another way.
//! Never shares code with the solver it checks.

mod fill;
mod groups;
mod kept;
mod masks;
mod nested;
mod oracle;
mod peers;
mod random;
mod special;

use super::*;

fn claim(weight: f64, demand: f64) -> Claim {
    Claim { weight, demand }
}

fn assert_close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    for (i, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!((a - e).abs() < 1e-9, "claim {i}: {a} is not {e}");
    }
}

/// A problem that owns what it is made of.
#[derive(Clone, Debug)]
struct Instance {
    cpus: Vec<CpuCapacity>,
    masks: MaskTable,
    groups: Vec<Group>,
    tasks: Vec<TaskClaim>,
}

const ROOT: Group = Group {
    parent: GroupId::ROOT,
    weight: 100.0,
    quota: f64::INFINITY,
};

impl Instance {
    /// This many CPUs, the root, and no tasks.
    fn new(cpus: u32) -> Instance {
        let cpu = |cpu| CpuCapacity {
            cpu: CpuId(cpu),
            capacity: 1.0,
        };
        Instance {
            cpus: (0..cpus).map(cpu).collect(),
            masks: MaskTable::default(),
            groups: vec![ROOT],
            tasks: Vec::new(),
        }
    }

    fn group(&mut self, parent: GroupId, weight: f64, quota: f64) -> GroupId {
        self.groups.push(Group {
            parent,
            weight,
            quota,
        });
        GroupId(self.groups.len() as u32 - 1)
    }

    fn mask(&mut self, cpus: impl IntoIterator<Item = u32>) -> MaskId {
        self.masks.intern_cpus(cpus.into_iter().map(CpuId))
    }

    fn add(&mut self, count: usize, weight: f64, demand: f64, mask: MaskId, group: GroupId) {
        let task = TaskClaim {
            weight,
            demand,
            mask,
            group,
        };
        self.tasks.extend(std::iter::repeat_n(task, count));
    }

    fn problem(&self) -> Problem<'_> {
        Problem {
            cpus: &self.cpus,
            masks: &self.masks,
            groups: &self.groups,
            tasks: &self.tasks,
        }
    }

    fn solve(&self) -> Entitlements {
        let mut out = Entitlements::default();
        Solver::default().solve(&self.problem(), &mut out);
        out
    }
}
