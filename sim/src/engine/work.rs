// SPDX-License-Identifier: GPL-2.0-only
//! What tasks do when they have a CPU, and what the world asks of them.
//! Never looks at where they run.

use super::change::Birth;
use super::task::{Role, State};
use super::{Event, NONE, Ns, TaskId, World};
use crate::bits::CpuBits;
use crate::scenario::{TaskGroup, Work};
use scx_ballast::cpulist::CpuList;

/// Longer than any run.
const FOREVER: Ns = Ns::MAX / 1024;

/// The tasks of each group that are alive, for rings and for the end of groups.
#[derive(Debug, Default)]
pub struct Rings {
    /// By group.
    pub members: Vec<Vec<TaskId>>,
    places: Vec<RingPlace>,
}

/// What a task of a ring has before it.
#[derive(Clone, Debug, Default)]
struct RingPlace {
    /// Wake-ups that came while it was still awake.
    pending: u32,
    /// It has woken the next, and goes on.
    goes_on: bool,
}

impl RingPlace {
    /// Uses up a wake-up that came while it was awake; whether there was one.
    fn take_pending(&mut self) -> bool {
        let has = self.pending > 0;
        self.pending = self.pending.saturating_sub(1);
        has
    }
}

impl Rings {
    fn place(&mut self, task: TaskId) -> &mut RingPlace {
        let index = task as usize;
        if self.places.len() <= index {
            self.places.resize(index + 1, RingPlace::default());
        }
        &mut self.places[index]
    }
}

fn us(us: u64) -> Ns {
    us * 1000
}

impl World {
    /// The tasks of a group are born.
    pub(super) fn start_group(&mut self, group: u32) {
        let spec = self.groups[group as usize].clone();
        let nr_cpus = self.cpus.len() as u32;
        let list = |text: &Option<String>| -> Vec<u32> {
            let list = text.as_ref().and_then(|text| text.parse::<CpuList>().ok());
            match list {
                Some(list) => list.iter().map(|cpu| cpu.0).collect(),
                None => (0..nr_cpus).collect(),
            }
        };
        let allowed = list(&spec.cpus);
        let start_on = if spec.start_on.is_some() {
            list(&spec.start_on)
        } else {
            allowed.clone()
        };
        let mut process = 0;
        for nth in 0..spec.count {
            let pinned_to = [allowed[nth as usize % allowed.len()]];
            let mask = if spec.pinned {
                &pinned_to[..]
            } else {
                &allowed
            };
            let cpu = if spec.pinned {
                pinned_to[0]
            } else {
                start_on[nth as usize % start_on.len()]
            };
            let task = self.create_task(Birth {
                role: Role::Member { group, nth },
                allowed: CpuBits::of(nr_cpus, mask.iter().copied()),
                cpu,
                nice: spec.nice,
                cgroup: self.home_cgroup(group),
                tgid: process,
                kthread: spec.kthread,
                memory_node: spec.memory_node.unwrap_or(NONE),
            });
            let Some(task) = task else { continue };
            if spec.one_process && process == 0 {
                process = self.tasks[task as usize].c().pid as u32;
            }
            self.rings.members[group as usize].push(task);
            self.first_steps(task, nth, &spec.work);
        }
    }

    /// How a newborn begins.
    fn first_steps(&mut self, task: TaskId, nth: u32, work: &Work) {
        let cpu = self.tasks[task as usize].cpu();
        match work {
            Work::Spin {} | Work::Periodic { .. } => {
                self.tasks[task as usize].left_ns = self.next_burst(work);
                self.start_task(task, cpu);
            }
            Work::Server { per_second, .. } => {
                let gap = self.workload.gap_ns(1e9 / per_second);
                self.after(gap, Event::Arrival { task });
            }
            Work::Ring { tokens, .. } => {
                if nth < *tokens {
                    self.tasks[task as usize].left_ns = self.next_burst(work);
                    self.start_task(task, cpu);
                }
            }
            Work::Forks { per_second, .. } => {
                let gap = self.workload.gap_ns(1e9 / per_second);
                self.after(gap, Event::Fork { task });
            }
        }
    }

    /// Work until the task does something else, in ns.
    fn next_burst(&mut self, work: &Work) -> Ns {
        match *work {
            Work::Spin {} => FOREVER,
            Work::Periodic {
                run_us, jitter_pct, ..
            } => self.vary(us(run_us), jitter_pct),
            Work::Server { service_us, .. } => us(service_us),
            Work::Ring { run_us, .. } => us(run_us),
            Work::Forks { life_us, .. } => us(life_us),
        }
    }

    fn vary(&mut self, ns: Ns, jitter_pct: u64) -> Ns {
        let spread = ns * jitter_pct / 100;
        if spread == 0 {
            return ns;
        }
        self.workload.between(ns - spread, ns + spread)
    }

    /// A group ends.
    pub(super) fn stop_group(&mut self, group: u32) {
        for task in std::mem::take(&mut self.rings.members[group as usize]) {
            self.kill(task);
        }
    }

    /// The task on `cpu` has done its work.
    pub(super) fn burst_done(&mut self, cpu: u32, task: TaskId) {
        self.tasks[task as usize].truth.bursts += 1;
        if self.tasks[task as usize].ends {
            self.block(cpu, task);
            return;
        }
        let Some(group) = self.tasks[task as usize].role.group() else {
            return;
        };
        let work = self.groups[group as usize].work.clone();
        if let Role::Child { .. } = self.tasks[task as usize].role {
            self.tasks[task as usize].ends = true;
            self.block(cpu, task);
            return;
        }
        match work {
            Work::Spin {} => self.go_on(cpu, task, FOREVER),
            Work::Periodic {
                sleep_us,
                jitter_pct,
                ..
            } => {
                let sleep = self.vary(us(sleep_us), jitter_pct);
                self.tasks[task as usize].left_ns = self.next_burst(&work);
                self.sleep_for(cpu, task, sleep);
            }
            Work::Server { service_us, .. } => {
                let t = &mut self.tasks[task as usize];
                t.backlog -= 1;
                if t.backlog > 0 {
                    self.go_on(cpu, task, us(service_us));
                } else {
                    self.block(cpu, task);
                }
            }
            Work::Ring {
                run_us,
                sync,
                goes_on_us,
                ..
            } => self.pass_on(cpu, task, group, us(run_us), sync, us(goes_on_us)),
            Work::Forks { .. } => self.block(cpu, task),
        }
    }

    fn go_on(&mut self, cpu: u32, task: TaskId, work: Ns) {
        self.tasks[task as usize].left_ns = work;
        self.arm_burst(cpu, task);
    }

    /// The task on `cpu` sleeps for so long.
    pub fn sleep_for(&mut self, cpu: u32, task: TaskId, sleep_ns: Ns) {
        let sleep = self.tasks[task as usize].sleep + 1;
        self.after(sleep_ns, Event::Wake { task, sleep });
        self.block(cpu, task);
    }

    /// Wakes the next of the ring; then, the last of it only after it has gone on for so
    /// long, sleeps until it is woken.
    fn pass_on(
        &mut self,
        cpu: u32,
        task: TaskId,
        group: u32,
        work: Ns,
        sync: bool,
        goes_on_ns: Ns,
    ) {
        let is_last = self.rings.members[group as usize].last() == Some(&task);
        let place = self.rings.place(task);
        let has_woken = place.goes_on;
        let goes_on = !has_woken && is_last && goes_on_ns > 0;
        place.goes_on = goes_on;
        self.tasks[task as usize].left_ns = if goes_on { goes_on_ns } else { work };
        if !has_woken {
            self.wake_next(cpu, task, group, work, sync);
        }
        if goes_on || self.rings.place(task).take_pending() {
            self.arm_burst(cpu, task);
        } else {
            self.block(cpu, task);
        }
    }

    /// Wakes the task after `task` in its ring, which may be itself.
    fn wake_next(&mut self, cpu: u32, task: TaskId, group: u32, work: Ns, sync: bool) {
        let members = &self.rings.members[group as usize];
        let own = members.iter().position(|&one| one == task).unwrap_or(0);
        let Some(&next) = members.get((own + 1) % members.len().max(1)) else {
            return;
        };
        let t = &mut self.tasks[next as usize];
        if t.state == State::Asleep {
            if t.left_ns == 0 {
                t.left_ns = work;
            }
            self.wake(next, cpu, sync);
        } else {
            self.rings.place(next).pending += 1;
        }
    }

    /// A request for a server, and the next one.
    pub(super) fn arrival(&mut self, task: TaskId) {
        let Some((_, work)) = self.work_of(task) else {
            return;
        };
        let Work::Server {
            per_second,
            service_us,
        } = work
        else {
            return;
        };
        let gap = self.workload.gap_ns(1e9 / per_second);
        self.after(gap, Event::Arrival { task });
        let t = &mut self.tasks[task as usize];
        t.backlog += 1;
        if t.backlog == 1 && t.state == State::Asleep {
            t.left_ns = us(service_us);
            let cpu = self.any_interrupt_cpu();
            self.wake(task, cpu, false);
        }
    }

    /// Requests come from the network: any CPU may take the interrupt.
    fn any_interrupt_cpu(&mut self) -> u32 {
        let cpu = self.workload.below(self.cpus.len() as u64) as u32;
        self.interrupt_cpu(cpu)
    }

    /// A forker's next child. The forker itself only counts as the parent: its own
    /// time is the child's.
    pub(super) fn fork(&mut self, task: TaskId) {
        let Some((group, work)) = self.work_of(task) else {
            return;
        };
        let Work::Forks {
            per_second,
            life_us,
        } = work
        else {
            return;
        };
        let gap = self.workload.gap_ns(1e9 / per_second);
        self.after(gap, Event::Fork { task });
        let parent = &self.tasks[task as usize];
        let birth = Birth {
            role: Role::Child { group },
            allowed: CpuBits::clone(&parent.allowed),
            cpu: parent.cpu(),
            nice: self.groups[group as usize].nice,
            cgroup: parent.cgroup,
            tgid: 0,
            kthread: false,
            memory_node: NONE,
        };
        let cpu = parent.cpu();
        if let Some(child) = self.create_task(birth) {
            self.tasks[child as usize].left_ns = us(life_us);
            self.start_task(child, cpu);
        }
    }

    /// The control group that tasks of a group are born in.
    pub(super) fn home_cgroup(&self, group: u32) -> usize {
        let path = self.groups[group as usize].cgroup.as_deref();
        path.map_or(0, |path| self.cgroups.index(path))
    }

    fn work_of(&self, task: TaskId) -> Option<(u32, Work)> {
        let t = &self.tasks[task as usize];
        match t.role {
            Role::Member { group, .. } if t.state != State::Dead && !t.ends => {
                Some((group, self.groups[group as usize].work.clone()))
            }
            _ => None,
        }
    }

    /// Puts the beginnings and ends of groups on the calendar.
    pub fn plan_groups(&mut self, groups: Vec<TaskGroup>) {
        let at = |seconds: f64| (seconds * 1e9) as Ns;
        for (group, spec) in (0u32..).zip(&groups) {
            self.at(at(spec.start_s), Event::GroupStart { group });
            if let Some(stop_s) = spec.stop_s {
                self.at(at(stop_s), Event::GroupStop { group });
            }
        }
        self.rings.members = vec![Vec::new(); groups.len()];
        self.groups = groups;
    }
}
