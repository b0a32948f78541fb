// SPDX-License-Identifier: GPL-2.0-only
//! What the daemon knows of the machine and its tasks, and the snapshot it makes
//! of that each round. Never plans, and asks the kernel for nothing but rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use log::debug;

use super::ledger::Ledger;
use crate::cgroups::Cgroups;
use crate::demand::{Estimate, Estimator, RowSample};
use crate::domains::{Layout, LayoutDomain};
use crate::ids::{CpuId, GroupId, TaskRef};
use crate::kernel::Kernel;
use crate::lag::Lags;
use crate::load_balance::{Domain, Node, Plan, Snapshot, Task};

/// Memory from round to round: what tasks did, and what they were owed.
pub(super) struct Observer {
    layout: Layout,
    /// The CPUs of each domain, those that are offline included.
    members: Vec<Vec<CpuId>>,
    estimator: Estimator,
    lags: Lags,
    /// By slot: the generation and the CPUs the last plan owed it.
    owed: Vec<(u32, f64)>,
    rows: Vec<RowSample>,
    /// What was found out of each of the rows.
    known: Vec<Known>,
    cgroups: Cgroups,
}

/// What is known of a task.
struct Known {
    /// CPUs it could use.
    demand: f64,
    lag_ms: f64,
}

impl Observer {
    pub fn new(layout: Layout, half_life_ns: u64, cgroups: Cgroups) -> Observer {
        let mut members = vec![Vec::new(); layout.domains.len()];
        for (cpu, domain) in &layout.cpu_domain {
            members[domain.index()].push(*cpu);
        }
        Observer {
            layout,
            members,
            estimator: Estimator::new(half_life_ns),
            lags: Lags::default(),
            owed: Vec::new(),
            rows: Vec::new(),
            known: Vec::new(),
            cgroups,
        }
    }

    /// The rows of the last snapshot, parallel to its tasks.
    pub fn rows(&self) -> &[RowSample] {
        &self.rows
    }

    /// The paths of the groups in the last snapshot.
    pub fn group_paths(&self) -> Arc<Vec<String>> {
        self.cgroups.paths()
    }

    /// Reads the rows at `now_ns` and brings demands and lags up to date. The
    /// groups and the sets of CPUs they name go into `snapshot`, whose old ones are void.
    pub fn read(&mut self, kernel: &mut dyn Kernel, now_ns: u64, snapshot: &mut Snapshot) {
        snapshot.masks.sweep();
        let report = kernel.rows(now_ns, &mut snapshot.masks, &mut self.rows);
        if report.torn > 0 {
            debug!("{} rows changed while being read", report.torn);
        }
        let named = self.rows.iter().map(|row| row.cgroup);
        self.cgroups.update(named, &mut snapshot.groups);
        self.learn(now_ns);
    }

    /// Whether `task` neither ran nor slept since the last round.
    pub fn only_waited(&self, task: TaskRef) -> bool {
        self.estimator.waited(task.slot) == Some(1.0)
    }

    /// Brings demands up to date, and books what each task had since the last plan
    /// against what that owed it.
    fn learn(&mut self, now_ns: u64) {
        self.estimator.begin_update();
        self.lags.begin_round();
        self.known.clear();
        let (estimator, lags) = (&mut self.estimator, &mut self.lags);
        let known = self.rows.iter().map(|row| {
            let Estimate { demand, interval } = estimator.take(now_ns, row);
            let owed = self.owed.get(row.task.slot as usize);
            let owed = owed.filter(|(of, _)| *of == row.task.generation);
            let lag_ms = match (owed, interval) {
                (Some(&(_, owed)), Some(interval)) => lags.account(
                    row.task,
                    owed,
                    interval.received,
                    interval.waited,
                    interval.length_ns,
                ),
                _ => lags.lag_ms(row.task),
            };
            Known { demand, lag_ms }
        });
        self.known.extend(known);
    }

    /// Keeps what a plan on the last snapshot owes each task, and shows each with
    /// its level.
    pub fn note_plan(
        &mut self,
        snapshot: &Snapshot,
        plan: &Plan,
        mut each: impl FnMut(&RowSample, &Task, f64),
    ) {
        let owed = plan.entitlements.iter().zip(&plan.levels);
        let tasks = snapshot.tasks.iter().zip(owed);
        for (row, (task, (&entitlement, &level))) in self.rows.iter().zip(tasks) {
            let index = row.task.slot as usize;
            if self.owed.len() <= index {
                self.owed.resize(index + 1, (0, 0.0));
            }
            self.owed[index] = (row.task.generation, entitlement);
            each(row, task, level);
        }
    }

    /// Writes the machine and the tasks read last into `snapshot`, in the memory
    /// of an older one.
    pub fn fill(
        &self,
        kernel: &dyn Kernel,
        lost: &BTreeMap<CpuId, f64>,
        ledger: &Ledger,
        snapshot: &mut Snapshot,
    ) {
        if snapshot.domains.is_empty() {
            self.draw(snapshot);
        }
        for (domain, place) in snapshot.domains.iter_mut().zip(&self.layout.domains) {
            domain.cpus.clear();
            domain.cpus.extend(self.online(kernel, place));
            let per_cpu = place.capacity / place.cpus.len().max(1) as f64;
            let lost = |cpu| lost.get(cpu).copied().unwrap_or(0.0);
            let usable = domain.cpus.iter().map(|cpu| per_cpu * (1.0 - lost(cpu)));
            domain.capacity = usable.sum();
        }
        snapshot.tasks.clear();
        // Tasks of a group mostly come one after the other.
        let (mut id, mut group) = (0, GroupId::ROOT);
        let tasks = self.rows.iter().zip(&self.known).map(|(row, known)| {
            if row.cgroup != id {
                (id, group) = (row.cgroup, self.cgroups.group_of(row.cgroup));
            }
            let mut task = task(row, known, group);
            ledger.mark(&mut task);
            task
        });
        snapshot.tasks.extend(tasks);
    }

    /// What of the machine never changes while the scheduler is loaded.
    fn draw(&self, snapshot: &mut Snapshot) {
        let nodes = self.layout.nodes.iter().map(|node| Node {
            id: node.id,
            distance: node.distance.clone(),
        });
        let domains = self.layout.domains.iter().map(|domain| Domain {
            id: domain.id,
            node: domain.node,
            capacity: domain.capacity,
            cpus: Vec::new(),
        });
        snapshot.nodes = nodes.collect();
        snapshot.domains = domains.collect();
    }

    fn online(&self, kernel: &dyn Kernel, domain: &LayoutDomain) -> impl Iterator<Item = CpuId> {
        let members = self.members[domain.id.index()].iter().copied();
        members.filter(|cpu| kernel.is_online(*cpu))
    }
}

/// The task of a row, as if nobody had ever asked for it to be moved.
#[inline]
fn task(row: &RowSample, known: &Known, group: GroupId) -> Task {
    Task {
        id: u64::from(row.pid),
        task: row.task,
        process: row.tgid,
        weight: row.weight,
        demand: known.demand,
        domain: row.domain,
        mask: row.mask,
        group,
        movable: !row.pinned,
        preferred_nodes: row.preferred_nodes,
        moved_ago_rounds: u32::MAX,
        lag_ms: known.lag_ms,
    }
}
