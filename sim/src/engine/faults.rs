// SPDX-License-Identifier: GPL-2.0-only
//! What goes wrong: CPUs, affinities, weights, kicks, rows, memory.
//! Never anything that cannot happen to a kernel, except what the scenario asks for
//! by name: kicks that are lost.

use super::cpu::Power;
use super::task::State;
use super::{Event, Ns, Running, TaskId, World};
use crate::bits::CpuBits;
use crate::trace::Kind;

/// A kind of fault; each comes at random, by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A CPU goes offline.
    Hotplug,
    /// A task's affinity changes.
    Affinity,
    /// A task's nice level changes.
    Weight,
    /// A task is moved to another control group.
    Regroup,
    /// A class above ours takes a CPU.
    Taken,
    /// A running task may not migrate for a while.
    MigrationDisabled,
    /// The daemon asks something of a row that has become another task's.
    StaleRequest,
    /// The daemon stands still.
    Stall,
    /// The daemon is killed and started again.
    Restart,
}

/// The end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Undo {
    /// The CPU comes back.
    Online { cpu: u32 },
    /// The task has its group's affinity again.
    Affinity { task: TaskId, pid: i32 },
    /// The task has its group's nice level again.
    Weight { task: TaskId, pid: i32 },
    /// The task is back in its control group.
    Regroup { task: TaskId, pid: i32 },
    /// The task may migrate again.
    Migration { task: TaskId, pid: i32 },
}

/// Faults that come at random, and how often, a second.
const RANDOM: [Fault; 7] = [
    Fault::Hotplug,
    Fault::Affinity,
    Fault::Weight,
    Fault::Regroup,
    Fault::Taken,
    Fault::MigrationDisabled,
    Fault::StaleRequest,
];

const MS: Ns = 1_000_000;

impl World {
    fn rate(&self, fault: Fault) -> f64 {
        match fault {
            Fault::Hotplug => self.faults.hotplug_per_s,
            Fault::Affinity => self.faults.affinity_per_s,
            Fault::Weight => self.faults.weight_per_s,
            Fault::Regroup => self.faults.regroup_per_s,
            Fault::Taken => self.faults.rt_per_s,
            Fault::MigrationDisabled => self.faults.migration_disabled_per_s,
            Fault::StaleRequest => self.faults.stale_requests_per_s,
            Fault::Stall | Fault::Restart => 0.0,
        }
    }

    /// When faults end.
    pub fn quiet_from(&self) -> Ns {
        let until_s = self.faults.until_s;
        until_s.map_or(Ns::MAX, |seconds| (seconds * 1e9) as Ns)
    }

    /// Puts the first faults on the calendar.
    pub fn plan_faults(&mut self) {
        for fault in RANDOM {
            self.next_fault(fault);
        }
        let at = |seconds: f64| (seconds * 1e9) as Ns;
        if let Some(seconds) = self.faults.stall_at_s {
            self.at(at(seconds), Event::Fault(Fault::Stall));
        }
        if let Some(seconds) = self.faults.restart_at_s {
            self.at(at(seconds), Event::Fault(Fault::Restart));
        }
    }

    fn next_fault(&mut self, fault: Fault) {
        let rate = self.rate(fault);
        if rate <= 0.0 {
            return;
        }
        let gap_ns = self.fault_stream.gap_ns(1e9 / rate);
        let at = self.now.saturating_add(gap_ns);
        if at < self.quiet_from() {
            self.at(at, Event::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        self.next_fault(fault);
        self.note(Kind::Fault, 0, 0, fault as u64);
        match fault {
            Fault::Hotplug => self.unplug_one(),
            Fault::Affinity => self.confine_one(),
            Fault::Weight => self.renice_one(),
            Fault::Regroup => self.regroup_one(),
            Fault::Taken => {
                let cpu = self.fault_stream.below(self.cpus.len() as u64) as u32;
                let for_ns = self.fault_stream.between(MS, 20 * MS);
                self.take_cpu(cpu, for_ns);
            }
            Fault::MigrationDisabled => self.hold_one(),
            Fault::StaleRequest => self.ask_too_late(),
            Fault::Stall => {
                self.stalled_until = self.now + (self.faults.stall_for_s * 1e9) as Ns;
                self.checks.daemon_free_since = self.stalled_until;
            }
            Fault::Restart => self.restart_due = true,
        }
    }

    pub(super) fn undo(&mut self, undo: Undo) {
        let same = |world: &World, task: TaskId, pid: i32| {
            world.tasks[task as usize].c().pid == pid && world.is_live(task)
        };
        match undo {
            Undo::Online { cpu } if self.cpus[cpu as usize].power == Power::Leaving => {
                // The kernel finishes one hotplug before the next.
                self.after(MS, Event::Undo(undo));
            }
            Undo::Online { cpu } => self.bring_online(cpu),
            Undo::Affinity { task, pid } if same(self, task, pid) => {
                let allowed = self.checks.masks.get(self.home_mask(task));
                let from = self.interrupt_cpu(self.tasks[task as usize].cpu());
                self.change_mask(from, task, CpuBits::clone(&allowed));
            }
            Undo::Weight { task, pid } if same(self, task, pid) => {
                let group = self.tasks[task as usize].role.group();
                let nice = group.map_or(0, |group| self.groups[group as usize].nice);
                self.set_nice(task, nice);
            }
            Undo::Regroup { task, pid } if same(self, task, pid) => {
                let group = self.tasks[task as usize].role.group();
                let home = group.map_or(0, |group| self.home_cgroup(group));
                self.change_cgroup(task, home);
            }
            Undo::Migration { task, pid } if same(self, task, pid) => {
                self.enable_migration(task, pid);
            }
            _ => (),
        }
    }

    /// Only a task that runs can enable its migration again.
    fn enable_migration(&mut self, task: TaskId, pid: i32) {
        if self.tasks[task as usize].state == State::Running {
            self.set_migration(task, false);
        } else {
            self.after(MS / 2, Event::Undo(Undo::Migration { task, pid }));
        }
    }

    fn unplug_one(&mut self) {
        let cpu = self.fault_stream.below(self.cpus.len() as u64) as u32;
        let back = self.fault_stream.between(20 * MS, 500 * MS);
        // The last two stay: something has to run the machine. One at a time, as the
        // kernel does it.
        let busy = (self.cpus.iter()).any(|state| state.power == Power::Leaving);
        if busy || !self.online.has(cpu) || self.online.len() <= 2 {
            return;
        }
        self.take_offline(cpu);
        self.after(back, Event::Undo(Undo::Online { cpu }));
    }

    /// A live task of a group, if the draw hits one.
    fn any_task(&mut self) -> Option<TaskId> {
        let count = self.tasks.len() as u64;
        let drawn: [TaskId; 8] = std::array::from_fn(|_| self.fault_stream.below(count) as TaskId);
        drawn.into_iter().find(|&task| self.is_live(task))
    }

    fn confine_one(&mut self) {
        let Some(task) = self.any_task() else { return };
        if self.tasks[task as usize].c().migration_disabled > 0 {
            return;
        }
        let nr_cpus = self.cpus.len() as u32;
        let wanted = match self.fault_stream.below(3) {
            0 => 1,
            1 => self.fault_stream.between(2, u64::from(nr_cpus).max(2)) as u32,
            _ => nr_cpus,
        };
        let first = self.fault_stream.below(u64::from(nr_cpus)) as u32;
        let cpus = (0..wanted.min(nr_cpus)).map(|nth| (first + nth) % nr_cpus);
        let allowed = CpuBits::of(nr_cpus, cpus);
        if CpuBits::next_common(&[allowed.words(), self.online.words()], 0).is_none() {
            return;
        }
        let pid = self.tasks[task as usize].c().pid;
        let from = self.interrupt_cpu(self.tasks[task as usize].cpu());
        self.change_mask(from, task, allowed);
        let back = self.fault_stream.between(MS, 200 * MS);
        self.after(back, Event::Undo(Undo::Affinity { task, pid }));
    }

    /// The mask the task's group gives it, which is its first.
    fn home_mask(&self, task: TaskId) -> usize {
        self.tasks[task as usize].home_mask
    }

    fn renice_one(&mut self) {
        let Some(task) = self.any_task() else { return };
        let pid = self.tasks[task as usize].c().pid;
        let nice = self.fault_stream.between(0, 39) as i32 - 20;
        self.set_nice(task, nice);
        let back = self.fault_stream.between(MS, 500 * MS);
        self.after(back, Event::Undo(Undo::Weight { task, pid }));
    }

    fn regroup_one(&mut self) {
        let Some(task) = self.any_task() else { return };
        let pid = self.tasks[task as usize].c().pid;
        let cgroup = self.fault_stream.below(self.cgroups.len() as u64);
        self.change_cgroup(task, cgroup as usize);
        let back = self.fault_stream.between(MS, 500 * MS);
        self.after(back, Event::Undo(Undo::Regroup { task, pid }));
    }

    fn hold_one(&mut self) {
        let cpu = self.fault_stream.below(self.cpus.len() as u64) as usize;
        let Some(task) = self.cpus[cpu].current.filter(|&task| self.is_live(task)) else {
            return;
        };
        if self.tasks[task as usize].c().nr_cpus_allowed == 1
            || !self.tasks[task as usize].may_use(cpu as u32)
        {
            return;
        }
        let pid = self.tasks[task as usize].c().pid;
        self.set_migration(task, true);
        let back = self.fault_stream.between(MS / 10, 20 * MS);
        self.after(back, Event::Undo(Undo::Migration { task, pid }));
    }

    /// What a daemon does that has read a row, was held up, and then asks for a move
    /// of the task that was in it: swap its word in where none is. A daemon that has
    /// asked something of the present task knows that the former one is gone.
    fn ask_too_late(&mut self) {
        let Some(task) = self.any_task() else { return };
        let Some((slot, mut row)) = self.row_of(task) else {
            return;
        };
        let known = row.answer as u32 == row.generation;
        if row.request != 0 || known || row.generation < 3 || self.checks.domain_cpus.is_empty() {
            return;
        }
        let domain = self
            .fault_stream
            .below(self.checks.domain_cpus.len() as u64);
        let sequence = self.fault_stream.below(1 << 16);
        row.request = u64::from(row.generation - 2) | domain << 32 | sequence << 48;
        self.object.write_row(slot, row);
    }

    /// How much later a kick arrives; `None`: it does not.
    pub(super) fn kick_fault(&mut self) -> Option<Ns> {
        if self.now >= self.quiet_from() {
            return Some(0);
        }
        if self.fault_stream.chance(self.faults.lost_kicks) {
            return None;
        }
        let late = self.fault_stream.chance(self.faults.late_kicks);
        Some(if late {
            self.fault_stream.below(2 * MS)
        } else {
            0
        })
    }

    /// Whether an allocation fails.
    pub(super) fn allocation_fault(&mut self) -> bool {
        // Start-up is tried until it works: it is not what is tested here.
        self.loaded
            && self.now > 0
            && self.now < self.quiet_from()
            && self.fault_stream.chance(self.faults.failed_allocations)
    }

    /// Whether a task queues anew while a program that holds no lock means to move it.
    pub(super) fn requeue_fault(&mut self) -> bool {
        self.running == Running::Unlocked
            && self.now < self.quiet_from()
            && self.requeue_stream.chance(self.faults.requeues)
    }

    /// Whether the daemon meets the next row half written.
    pub fn torn_fault(&mut self) -> bool {
        self.now < self.quiet_from() && self.fault_stream.chance(self.faults.torn_rows)
    }
}
