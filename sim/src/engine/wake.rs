// SPDX-License-Identifier: GPL-2.0-only
//! How a task becomes runnable and gets into a queue: wake-up, enqueue, insertion.
//! Never chooses a queue: that is the scheduler's part.

use super::cpu::Power;
use super::sched::SLICE_DEFAULT_NS;
use super::task::{Direct, State, Where};
use super::{Event, Ns, Running, TaskId, World};
use crate::bits::CpuBits;
use crate::checks::Check;
use crate::shim::{SCX_ENQ_PREEMPT, SCX_ENQ_WAKEUP};
use crate::trace::Kind;

/// The kernel's ids, which bindgen takes for negative numbers.
pub(super) const DSQ_LOCAL: u64 = crate::shim::SCX_DSQ_LOCAL as u64;
pub(super) const DSQ_LOCAL_ON: u64 = crate::shim::SCX_DSQ_LOCAL_ON as u64;
/// SCX_DSQ_GLOBAL.
pub const DSQ_GLOBAL: u64 = 1 << 63 | 1;
/// SCX_DSQ_LOCAL_CPU_MASK: the CPU in SCX_DSQ_LOCAL_ON.
const LOCAL_CPU_MASK: u64 = 0xffff_ffff;
/// SCX_WAKE_TTWU and SCX_WAKE_SYNC, SCX_WAKE_FORK.
const WAKE_TTWU: u64 = 8;
const WAKE_SYNC: u64 = 16;
pub(super) const WAKE_FORK: u64 = 4;

impl World {
    /// A task's sleep is over.
    pub(super) fn timer(&mut self, task: TaskId, sleep: u32) {
        let t = &self.tasks[task as usize];
        if t.state != State::Asleep || t.sleep != sleep {
            return;
        }
        let waker = self.interrupt_cpu(t.cpu());
        self.wake(task, waker, false);
    }

    /// The CPU that a timer of `cpu` fires on: itself while it is there.
    pub fn interrupt_cpu(&self, cpu: u32) -> u32 {
        if self.cpus[cpu as usize].power != Power::Offline {
            return cpu;
        }
        self.any_online()
    }

    fn any_online(&self) -> u32 {
        CpuBits::next_common(&[self.online.words()], 0).unwrap_or(0)
    }

    /// Wakes a sleeping task from `waker`.
    pub fn wake(&mut self, task: TaskId, waker: u32, sync: bool) {
        let sync = if sync { WAKE_SYNC } else { 0 };
        self.note(Kind::Wake, waker, task, sync);
        let cpu = self.choose_cpu(task, waker, WAKE_TTWU | sync);
        self.tasks[task as usize].c_mut().sim_cpu = cpu as i32;
        let flags = u64::from(SCX_ENQ_WAKEUP);
        // Far CPUs take the wake-up themselves: SCX_OPS_ALLOW_QUEUED_WAKEUP.
        if cpu != waker && self.places[cpu as usize].llc != self.places[waker as usize].llc {
            self.enter(task, State::Waking);
            self.after(self.costs.ipi_ns, Event::RemoteWake { task, flags });
        } else {
            self.activate(waker, task, flags);
        }
    }

    pub(super) fn remote_wake(&mut self, task: TaskId, flags: u64) {
        if self.tasks[task as usize].state != State::Waking {
            return;
        }
        let cpu = self.tasks[task as usize].cpu();
        if self.cpus[cpu as usize].power == Power::Online {
            self.activate(cpu, task, flags);
            // Its affinity may have changed on the way: the stopper comes first.
            self.push_away(cpu, task);
            return;
        }
        let cpu = self.fallback_cpu(task);
        self.tasks[task as usize].c_mut().sim_cpu = cpu as i32;
        self.activate(cpu, task, flags);
    }

    /// The kernel's select_task_rq: the scheduler's choice, if it may choose and
    /// the task may run there.
    pub(super) fn choose_cpu(&mut self, task: TaskId, waker: u32, wake_flags: u64) -> u32 {
        let t = &self.tasks[task as usize];
        let (prev, fixed) = (t.cpu(), t.is_fixed());
        let mut cpu = prev;
        if self.loaded && !self.bypass && !fixed {
            let p = t.ptr();
            // SAFETY: the callback takes a live task.
            let chosen = self.call(waker, Running::Placing(task), |ops| unsafe {
                ops.select_cpu
                    .map_or(prev as i32, |select| select(p, prev as i32, wake_flags))
            });
            match u32::try_from(chosen) {
                Ok(chosen) if (chosen as usize) < self.cpus.len() => cpu = chosen,
                _ => self.eject(format!("select_cpu returned CPU {chosen}")),
            }
            // It has chosen a local queue too: there will be no enqueue.
            let t = &mut self.tasks[task as usize];
            t.is_told |= t.direct.is_some();
        }
        if self.is_usable(task, cpu) {
            cpu
        } else {
            self.fallback_cpu(task)
        }
    }

    fn is_usable(&self, task: TaskId, cpu: u32) -> bool {
        self.cpus[cpu as usize].power == Power::Online && self.tasks[task as usize].may_use(cpu)
    }

    /// Where the kernel puts a task that may not go where it was to: on a CPU of
    /// its own that is online, else, breaking its affinity, on any.
    pub fn fallback_cpu(&mut self, task: TaskId) -> u32 {
        let t = &self.tasks[task as usize];
        let from = t.cpu();
        let sets = [t.allowed.words(), self.online.words()];
        match CpuBits::next_common(&sets, from) {
            Some(cpu) => cpu,
            None => {
                self.break_affinity(from, task);
                self.any_online()
            }
        }
    }

    /// A task becomes runnable on its CPU: runnable, then enqueue.
    pub fn activate(&mut self, from: u32, task: TaskId, flags: u64) {
        let cpu = self.tasks[task as usize].cpu();
        self.cpus[cpu as usize].nr_running += 1;
        self.tasks[task as usize].set_queued(true);
        self.enter(task, State::Queued);
        self.call_runnable(from, task, flags);
        self.enqueue(from, task, flags);
    }

    pub(super) fn call_runnable(&mut self, from: u32, task: TaskId, flags: u64) {
        let p = self.tasks[task as usize].ptr();
        if self.loaded {
            // SAFETY: the callback takes a live task.
            self.call(from, Running::Other, |ops| unsafe {
                ops.runnable.map(|runnable| runnable(p, flags))
            });
        }
    }

    /// The kernel's do_enqueue_task: a queue for a runnable task.
    pub(super) fn enqueue(&mut self, from: u32, task: TaskId, flags: u64) {
        let cpu = self.tasks[task as usize].cpu();
        if self.cpus[cpu as usize].power != Power::Online {
            self.tasks[task as usize].direct = None;
            self.tasks[task as usize].c_mut().scx.slice = SLICE_DEFAULT_NS;
            self.insert_local(from, cpu, task, false, false);
            return;
        }
        if self.bypass {
            self.tasks[task as usize].direct = None;
            self.insert_global(from, task);
            return;
        }
        if self.tasks[task as usize].direct.is_none() {
            let state = self.tasks[task as usize].state;
            self.enter(task, state);
            self.tasks[task as usize].is_told = true;
            let p = self.tasks[task as usize].ptr();
            let before = self.tasks[task as usize].context();
            // SAFETY: the callback takes a live task.
            self.call(from, Running::Placing(task), |ops| unsafe {
                ops.enqueue.map(|enqueue| enqueue(p, flags))
            });
            self.check_lag_kept(task, before);
        }
        match self.tasks[task as usize].direct.take() {
            Some(direct) => {
                self.tasks[task as usize].was_placed = true;
                self.insert(from, task, direct);
                self.check_queue_choice(task, direct.dsq);
            }
            // The scheduler keeps it; ours never does.
            None => self.eject(format!("enqueue left task {task} in no queue")),
        }
    }

    /// What a callback asked for, now that it has returned.
    pub(super) fn insert(&mut self, from: u32, task: TaskId, direct: Direct) {
        let cpu = self.tasks[task as usize].cpu();
        let preempts = direct.flags & SCX_ENQ_PREEMPT != 0;
        if direct.dsq == DSQ_LOCAL {
            self.insert_local(from, cpu, task, false, preempts);
        } else if direct.dsq & DSQ_LOCAL_ON == DSQ_LOCAL_ON {
            self.insert_local_on(from, task, (direct.dsq & LOCAL_CPU_MASK) as u32, preempts);
        } else if direct.dsq == DSQ_GLOBAL {
            self.insert_global(from, task);
        } else {
            self.insert_shared(from, task, direct.dsq, direct.key);
        }
    }

    /// Into the local queue of a CPU that was named. The kernel does this later
    /// than the callback, under the locks of both CPUs; nothing can come between here.
    pub(super) fn insert_local_on(&mut self, from: u32, task: TaskId, cpu: u32, preempts: bool) {
        if cpu as usize >= self.cpus.len() {
            self.eject(format!("SCX_DSQ_LOCAL_ON names CPU {cpu}"));
            return;
        }
        let own = self.tasks[task as usize].cpu();
        if cpu != own && !self.tasks[task as usize].may_use(cpu) {
            self.eject(format!(
                "SCX_DSQ_LOCAL[_ON] cannot move task {task} from CPU {own} to {cpu}"
            ));
            return;
        }
        if cpu != own && self.cpus[cpu as usize].power != Power::Online {
            self.insert_global(from, task);
            return;
        }
        self.change_cpu(task, cpu);
        self.insert_local(from, cpu, task, false, preempts);
    }

    /// Into a local queue; the CPU is told if it is idle or to be preempted.
    pub(super) fn insert_local(
        &mut self,
        from: u32,
        cpu: u32,
        task: TaskId,
        at_head: bool,
        preempts: bool,
    ) {
        self.tasks[task as usize].place = Where::Local(cpu);
        self.tasks[task as usize].placed_at = self.now;
        let local = &mut self.cpus[cpu as usize].local;
        if at_head || preempts {
            local.push_front(task);
        } else {
            local.push_back(task);
        }
        self.note(Kind::Queue, cpu, task, DSQ_LOCAL);
        let state = &self.cpus[cpu as usize];
        if state.is_switching {
            return;
        }
        if preempts && let Some(current) = state.current {
            self.tasks[current as usize].c_mut().scx.slice = 0;
            self.resched_from(from, cpu);
        } else if state.is_idle {
            self.resched_from(from, cpu);
        }
    }

    /// The queue of the kernel itself for each node.
    pub(super) fn insert_global(&mut self, from: u32, task: TaskId) {
        let cpu = self.tasks[task as usize].cpu();
        self.tasks[task as usize].c_mut().scx.slice = SLICE_DEFAULT_NS;
        let dsq = DSQ_GLOBAL + 2 + u64::from(self.places[cpu as usize].node);
        self.insert_shared(from, task, dsq, None);
        // The kernel's own wake-up of an idle CPU: its select_cpu has done so.
        let place = self.places[cpu as usize];
        let idle = (0..self.cpus.len() as u32).find(|&one| {
            let state = &self.cpus[one as usize];
            state.is_idle
                && state.power == Power::Online
                && self.places[one as usize].node == place.node
                && self.tasks[task as usize].may_use(one)
        });
        if let Some(idle) = idle {
            self.resched_from(from, idle);
        }
    }

    /// Into a queue that CPUs share.
    pub(super) fn insert_shared(&mut self, from: u32, task: TaskId, dsq: u64, key: Option<u64>) {
        let Some(index) = self.queue_index(dsq) else {
            self.eject(format!("queue {dsq:#x} does not exist"));
            return;
        };
        self.lock_queue(index);
        self.order += 1;
        let order = self.order;
        let Some(key) = self.queues[index].insert(task, key, order, self.now) else {
            self.eject(format!("queue {dsq:#x} is ordered otherwise"));
            return;
        };
        self.tasks[task as usize].place = Where::Shared {
            queue: index,
            key,
            order,
        };
        self.tasks[task as usize].placed_at = self.now;
        self.note(Kind::Queue, from, task, dsq);
    }

    /// A queue's lock serves one at a time: who comes meanwhile waits.
    pub(super) fn lock_queue(&mut self, index: usize) {
        let begins = (self.now + self.op_delay).max(self.queues[index].free_at);
        let ends = begins + self.costs.queue_lock_ns;
        self.queues[index].free_at = ends;
        self.op_delay = ends - self.now;
    }

    /// The place of a queue, by its id.
    pub fn queue_index(&self, dsq: u64) -> Option<usize> {
        self.queue_ids.get(dsq)
    }

    /// Moves a runnable task to another CPU's run queue.
    pub(super) fn change_cpu(&mut self, task: TaskId, cpu: u32) {
        let own = self.tasks[task as usize].cpu();
        if own != cpu {
            self.cpus[own as usize].nr_running -= 1;
            self.cpus[cpu as usize].nr_running += 1;
            self.tasks[task as usize].c_mut().sim_cpu = cpu as i32;
        }
    }

    /// Takes the first task of the node's global queue that may run on `cpu`.
    pub(super) fn consume_global(&mut self, cpu: u32) {
        let dsq = DSQ_GLOBAL + 2 + u64::from(self.places[cpu as usize].node);
        if let Some(index) = self.queue_index(dsq) {
            self.consume(cpu, index);
        }
    }

    /// Moves the first task of a queue that may run on `cpu` to its local queue.
    pub(super) fn consume(&mut self, cpu: u32, index: usize) -> Option<TaskId> {
        if self.queues[index].is_empty() {
            return None;
        }
        self.lock_queue(index);
        let fits = |task: &TaskId| self.tasks[*task as usize].may_use(cpu);
        let task = self.queues[index].iter().find(fits)?;
        self.queues[index].taken_at = self.now;
        self.leave_queue(task);
        self.change_cpu(task, cpu);
        self.tasks[task as usize].place = Where::Local(cpu);
        self.cpus[cpu as usize].local.push_back(task);
        Some(task)
    }

    /// Check 2, second half: a task that may not use all of a domain is never
    /// put into the domain's queue when it becomes runnable. (When a domain loses its last
    /// CPU, the scheduler saves its tasks into any domain they may use in part.)
    fn check_queue_choice(&mut self, task: TaskId, dsq: u64) {
        let Ok(domain) = u32::try_from(dsq) else {
            return;
        };
        let Some(cpus) = self.checks.domain_cpus.get(domain as usize) else {
            return;
        };
        let t = &self.tasks[task as usize];
        let has_all = t.c().migration_disabled == 0
            && CpuBits::covers(&[cpus.words(), self.online.words()], t.allowed.words());
        if has_all {
            return;
        }
        let cannot = cpus
            .iter()
            .find(|&cpu| self.online.has(cpu) && !t.may_use(cpu));
        if let Some(cpu) = cannot {
            let text = format!(
                "task {task} waits in the queue of domain {domain}, but may not use CPU {cpu}"
            );
            self.checks.fail(Check::Affinity, self.now, text);
        }
    }

    /// Time for which a queue has held tasks, in ns.
    pub fn queue_age(&self, index: usize) -> Ns {
        let since = self.queues[index].filled_since;
        since.map_or(0, |since| self.now - since)
    }
}
