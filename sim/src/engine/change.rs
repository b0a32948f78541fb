// SPDX-License-Identifier: GPL-2.0-only
//! Birth, death, and changes of what a task is: affinity, nice, migration.
//! Never changes a queued task in place: as in the kernel, it is taken out, told,
//! and put back.

use super::cpu::Power;
use super::task::{Role, State, Truth, Where};
use super::wake::WAKE_FORK;
use super::{Event, MAX_MASKS, NONE, Running, TaskId, World};
use crate::bits::CpuBits;
use crate::shim::scx_init_task_args;
use crate::trace::Kind;

/// DEQUEUE_SLEEP, DEQUEUE_SAVE, and the flag of what is put back, ENQUEUE_RESTORE.
pub(super) const DEQUEUE_SLEEP: u64 = 1;
const DEQUEUE_SAVE: u64 = 2;
const ENQUEUE_RESTORE: u64 = 2;

/// The kernel's MAX_RT_PRIO + 20: static_prio of nice 0.
const PRIO_NICE_0: i32 = 120;
const PF_KTHREAD: u32 = 0x0020_0000;

/// Who is born.
pub struct Birth {
    /// Its part.
    pub role: Role,
    /// The CPUs it may use.
    pub allowed: CpuBits,
    /// Where it is born.
    pub cpu: u32,
    /// Its nice level.
    pub nice: i32,
    /// Its control group.
    pub cgroup: usize,
    /// Its process; 0: its own.
    pub tgid: u32,
    /// It is a kernel thread.
    pub kthread: bool,
    /// The node of its memory, NONE: where it first runs.
    pub memory_node: u32,
}

impl World {
    /// A new task comes under the scheduler, asleep. None: out of memory.
    pub fn create_task(&mut self, birth: Birth) -> Option<TaskId> {
        if (self.tasks.len() - self.free_tasks.len()) as u32 >= self.max_live {
            self.too_many_live(birth.role);
            return None;
        }
        let task = self.free_tasks.pop().unwrap_or_else(|| {
            let index = self.tasks.len() as TaskId;
            self.tasks.push(super::task::Task::new(index));
            index
        });
        self.next_pid += 1;
        let pid = self.next_pid;
        let now = self.now;
        let t = &mut self.tasks[task as usize];
        t.role = birth.role;
        (t.state, t.place, t.direct) = (State::Asleep, Where::Nowhere, None);
        t.truth = Truth {
            since: now,
            ..Truth::default()
        };
        t.memory_node = birth.memory_node;
        (t.warm_llc, t.warm_node, t.warm_domain) = (NONE, NONE, NONE);
        t.warm_cpu = NONE;
        (t.left_ns, t.backlog, t.ends) = (0, 0, false);
        t.request_seen = (0, 0);
        let c = t.c_mut();
        c.pid = pid;
        c.tgid = if birth.tgid == 0 {
            pid
        } else {
            birth.tgid as i32
        };
        c.flags = if birth.kthread { PF_KTHREAD } else { 0 };
        c.static_prio = PRIO_NICE_0 + birth.nice;
        (c.policy, c.migration_disabled) = (0, 0);
        c.sim_cpu = birth.cpu as i32;
        c.scx.flags = 0;
        c.scx.slice = 0;
        self.put_in(task, birth.cgroup);
        self.set_allowed(task, birth.allowed);
        self.tasks[task as usize].home_mask = self.tasks[task as usize].mask;
        self.note(Kind::Born, birth.cpu, task, pid as u64);
        self.peak_live = self
            .peak_live
            .max((self.tasks.len() - self.free_tasks.len()) as u32);
        let joined = !self.loaded || self.join(birth.cpu, task);
        if !joined {
            // fork() fails.
            self.tasks[task as usize].state = State::Dead;
            self.free_tasks.push(task);
            return None;
        }
        Some(task)
    }

    fn too_many_live(&mut self, role: Role) {
        let name = role.group().map(|group| &self.groups[group as usize].name);
        let field = match role {
            Role::Child { .. } => "work.per_second",
            _ => "count",
        };
        self.over = Some(format!(
            "tasks `{}`: {field}: more than {} tasks live at once from {:.3} s on; \
             give less, or shorter lives",
            name.map_or("", String::as_str),
            self.max_live,
            self.now as f64 / 1e9
        ));
    }

    fn too_many_masks(&mut self) {
        self.over = Some(format!(
            "faults.affinity_per_s: more than {MAX_MASKS} different sets of CPUs by {:.3} s; \
             give less, or a smaller until_s",
            self.now as f64 / 1e9
        ));
    }

    /// A task comes under the loaded scheduler: init_task, enable, set_weight.
    pub(super) fn join(&mut self, cpu: u32, task: TaskId) -> bool {
        let p = self.tasks[task as usize].ptr();
        let mut args = scx_init_task_args { fork: true };
        // SAFETY: the callback takes a live task.
        let result = self.call(cpu, Running::Other, |ops| unsafe {
            ops.init_task.map_or(0, |init| init(p, &raw mut args))
        });
        if result != 0 {
            self.tasks[task as usize].free_storage();
            return false;
        }
        // SAFETY: as above.
        self.call(cpu, Running::Other, |ops| unsafe {
            ops.enable.map(|enable| enable(p))
        });
        self.tell_weight(cpu, task);
        true
    }

    /// A task leaves the loaded scheduler.
    pub(super) fn part(&mut self, cpu: u32, task: TaskId) {
        let p = self.tasks[task as usize].ptr();
        // SAFETY: the callback takes a live task.
        self.call(cpu, Running::Other, |ops| unsafe {
            ops.disable.map(|disable| disable(p))
        });
        self.tasks[task as usize].free_storage();
    }

    fn tell_weight(&mut self, cpu: u32, task: TaskId) {
        let p = self.tasks[task as usize].ptr();
        // The scheduler looks at static_prio: the kernel's own weight is rounded.
        // SAFETY: the callback takes a live task.
        self.call(cpu, Running::Other, |ops| unsafe {
            ops.set_weight.map(|set| set(p, 100))
        });
    }

    /// A new task is woken for the first time.
    pub fn start_task(&mut self, task: TaskId, parent_cpu: u32) {
        let from = self.interrupt_cpu(parent_cpu);
        let cpu = self.choose_cpu(task, from, WAKE_FORK);
        self.tasks[task as usize].c_mut().sim_cpu = cpu as i32;
        self.activate(from, task, 0);
    }

    /// A task that has ended is forgotten.
    pub(super) fn reap(&mut self, cpu: u32, task: TaskId) {
        self.check_books(task);
        if self.loaded {
            self.part(cpu, task);
        }
        self.note(Kind::Died, cpu, task, 0);
        self.checks.bury(&self.tasks[task as usize]);
        self.tasks[task as usize].state = State::Dead;
        self.free_tasks.push(task);
    }

    /// Ends a task, whatever it is doing.
    pub fn kill(&mut self, task: TaskId) {
        self.tasks[task as usize].ends = true;
        match self.tasks[task as usize].state {
            State::Running => {
                let cpu = self.tasks[task as usize].cpu();
                self.stop_work(cpu, task);
                self.block(cpu, task);
            }
            // Signals wake; it ends when it has a CPU.
            State::Asleep => {
                self.tasks[task as usize].left_ns = 1;
                let cpu = self.interrupt_cpu(self.tasks[task as usize].cpu());
                self.wake(task, cpu, false);
            }
            State::Queued | State::Waking => self.tasks[task as usize].left_ns = 1,
            State::Dead => (),
        }
    }

    /// stopping and quiescent of a task that runs on `cpu`.
    pub(super) fn off_cpu(&mut self, cpu: u32, task: TaskId, flags: u64) {
        let p = self.tasks[task as usize].ptr();
        if self.loaded {
            // SAFETY: the callbacks take a live task.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.stopping.map(|stopping| stopping(p, false))
            });
        }
        self.tasks[task as usize].is_told = false;
        self.off_queue(cpu, task, flags);
    }

    fn off_queue(&mut self, cpu: u32, task: TaskId, flags: u64) {
        let p = self.tasks[task as usize].ptr();
        let on = self.tasks[task as usize].cpu();
        self.cpus[on as usize].nr_running -= 1;
        self.tasks[task as usize].set_queued(false);
        if self.loaded {
            // SAFETY: the callback takes a live task.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.quiescent.map(|quiescent| quiescent(p, flags))
            });
        }
    }

    /// The kernel's way of changing what a task is: out of its queue or off its
    /// CPU, changed, and back.
    pub(super) fn with_task_out(
        &mut self,
        from: u32,
        task: TaskId,
        change: impl FnOnce(&mut World),
    ) {
        match self.tasks[task as usize].state {
            State::Queued => {
                self.leave_queue(task);
                self.enter(task, State::Asleep);
                self.off_queue(from, task, DEQUEUE_SAVE);
                change(self);
                self.activate(from, task, ENQUEUE_RESTORE);
            }
            State::Running => {
                let cpu = self.tasks[task as usize].cpu();
                self.charge_slice(cpu);
                self.stop_work(cpu, task);
                self.cpus[cpu as usize].is_switching = true;
                self.off_cpu(cpu, task, DEQUEUE_SAVE);
                self.enter(task, State::Asleep);
                change(self);
                self.cpus[cpu as usize].nr_running += 1;
                self.tasks[task as usize].set_queued(true);
                self.enter(task, State::Queued);
                self.call_runnable(cpu, task, ENQUEUE_RESTORE);
                // It was running, so it goes on: through the local queue, and running.
                self.enter(task, State::Running);
                self.call_running(cpu, task);
                self.cpus[cpu as usize].is_switching = false;
                self.arm_burst(cpu, task);
            }
            State::Asleep | State::Waking => change(self),
            State::Dead => (),
        }
    }

    /// Sets the nice level of a task.
    pub fn set_nice(&mut self, task: TaskId, nice: i32) {
        let from = self.interrupt_cpu(self.tasks[task as usize].cpu());
        self.note(Kind::Change, from, task, nice as u64);
        self.with_task_out(from, task, |world| {
            world.tasks[task as usize].c_mut().static_prio = PRIO_NICE_0 + nice;
            if world.loaded {
                world.tell_weight(from, task);
            }
        });
    }

    /// Moves a task to another control group.
    pub fn change_cgroup(&mut self, task: TaskId, cgroup: usize) {
        let from = self.interrupt_cpu(self.tasks[task as usize].cpu());
        self.note(Kind::Change, from, task, cgroup as u64);
        self.with_task_out(from, task, |world| world.put_in(task, cgroup));
    }

    fn put_in(&mut self, task: TaskId, cgroup: usize) {
        let pointer = self.cgroups.pointer(cgroup);
        let t = &mut self.tasks[task as usize];
        t.cgroup = cgroup;
        t.c_mut().sched_task_group = pointer;
    }

    fn set_allowed(&mut self, task: TaskId, allowed: CpuBits) {
        let mask = self.checks.masks.intern(&allowed);
        if self.checks.masks.len() > MAX_MASKS {
            self.too_many_masks();
        }
        let pointer = self.checks.masks.pointer(mask);
        let t = &mut self.tasks[task as usize];
        t.mask = mask;
        let c = t.c_mut();
        c.nr_cpus_allowed = allowed.len() as i32;
        c.cpus_ptr = pointer;
        t.allowed = self.checks.masks.get(mask);
    }

    /// Sets the affinity of a task, and moves it if it is where it may not be.
    pub fn change_mask(&mut self, from: u32, task: TaskId, allowed: CpuBits) {
        self.note(Kind::Change, from, task, u64::from(allowed.len()));
        self.with_task_out(from, task, |world| {
            world.set_allowed(task, allowed);
            world.tell_mask(from, task);
        });
        self.push_away(from, task);
    }

    /// The kernel lets a task run anywhere whose CPUs have all gone.
    pub(super) fn break_affinity(&mut self, from: u32, task: TaskId) {
        let nr_cpus = self.cpus.len() as u32;
        self.set_allowed(task, CpuBits::of(nr_cpus, 0..nr_cpus));
        self.tell_mask(from, task);
    }

    fn tell_mask(&mut self, from: u32, task: TaskId) {
        if !self.loaded || self.tasks[task as usize].context().is_none() {
            return;
        }
        let p = self.tasks[task as usize].ptr();
        let mask = self.tasks[task as usize].c().cpus_ptr;
        // SAFETY: the callback takes a live task and its mask.
        self.call(from, Running::Other, |ops| unsafe {
            ops.set_cpumask.map(|set| set(p, mask))
        });
    }

    /// The migration that follows a change of affinity.
    pub(super) fn push_away(&mut self, from: u32, task: TaskId) {
        let cpu = self.tasks[task as usize].cpu();
        if self.tasks[task as usize].may_use(cpu) {
            return;
        }
        match self.tasks[task as usize].state {
            State::Queued => self.push_queued(from, task),
            State::Running => self.after(self.costs.ipi_ns, Event::PushRunning { cpu, task }),
            _ => (),
        }
    }

    /// Moves a queued task to a CPU it may use, without telling it was away.
    pub(super) fn push_queued(&mut self, from: u32, task: TaskId) {
        self.leave_queue(task);
        let cpu = self.fallback_cpu(task);
        self.change_cpu(task, cpu);
        self.enqueue(from, task, 0);
    }

    /// The stopper thread takes a task that ran off a CPU it may not use. It may
    /// have been preempted meanwhile, and wait there.
    pub(super) fn push_running(&mut self, cpu: u32, task: TaskId) {
        let t = &self.tasks[task as usize];
        if t.cpu() != cpu || t.may_use(cpu) {
            return;
        }
        match t.state {
            State::Running => {
                self.charge_slice(cpu);
                self.cpus[cpu as usize].is_switching = true;
                self.put(cpu, task, 0);
                self.push_queued(cpu, task);
                self.schedule(cpu);
            }
            State::Queued => self.push_queued(cpu, task),
            _ => (),
        }
    }

    /// Disables or enables the migration of a task that runs.
    pub fn set_migration(&mut self, task: TaskId, disabled: bool) {
        let cpu = self.tasks[task as usize].cpu();
        let t = &mut self.tasks[task as usize];
        if disabled == (t.c().migration_disabled > 0) {
            return;
        }
        // In the kernel cpus_ptr shrinks when the task is switched out, and the
        // scheduler is told: nothing looks at it before.
        let (mask, count) = if disabled {
            let only = CpuBits::of(self.cpus.len() as u32, [cpu]);
            (self.checks.masks.intern(&only), 1)
        } else {
            (t.mask, 0)
        };
        let pointer = self.checks.masks.pointer(mask);
        let c = self.tasks[task as usize].c_mut();
        c.cpus_ptr = pointer;
        c.migration_disabled = count;
        self.tell_mask(cpu, task);
        if !disabled {
            self.push_away(cpu, task);
        }
    }

    /// Whether a task can be looked at as a subject of faults.
    pub fn is_live(&self, task: TaskId) -> bool {
        let t = &self.tasks[task as usize];
        t.state != State::Dead && !t.ends && matches!(t.role, Role::Member { .. })
    }

    /// Check 6 for one task: its row says what it had.
    pub fn check_books(&mut self, task: TaskId) {
        self.check_current(task);
    }

    /// Whether `cpu` could take tasks.
    pub fn takes_tasks(&self, cpu: u32) -> bool {
        let state = &self.cpus[cpu as usize];
        state.power == Power::Online && state.taken_until <= self.now
    }
}
