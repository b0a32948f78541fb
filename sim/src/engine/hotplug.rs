// SPDX-License-Identifier: GPL-2.0-only
//! CPUs that leave and come back, or are taken by a class above ours; and the
//! scheduler being unloaded and loaded.
//! Never forces a task off: a CPU leaves when the last one has gone.

use super::cpu::Power;
use super::queue::{Queue, QueueIds};
use super::task::State;
use super::wake::DSQ_GLOBAL;
use super::{Event, NONE, Ns, Running, TaskId, World};
use crate::checks::Check;
use crate::object::Object;
use crate::shim::scx_exit_info;
use crate::trace::Kind;

impl World {
    /// Adds a queue.
    pub(super) fn add_queue(&mut self, id: u64, builtin: bool) {
        self.queue_ids.insert(id, self.queues.len());
        self.queues.push(Queue::new(id, builtin));
    }

    /// A CPU begins to go offline.
    pub fn take_offline(&mut self, cpu: u32) {
        self.online.set(cpu, false);
        self.note(Kind::Hotplug, cpu, NONE, 0);
        let state = &mut self.cpus[cpu as usize];
        (state.power, state.leaving_since) = (Power::Leaving, self.now);
        if self.loaded {
            // SAFETY: the callback takes a CPU that exists.
            self.call(cpu, Running::Unlocked, |ops| unsafe {
                ops.cpu_offline.map(|offline| offline(cpu as i32))
            });
        }
        self.resched(cpu, 0);
    }

    /// What a leaving CPU does instead of scheduling: pushes away what its local
    /// queue holds, and is gone once no runnable task is on its run queue.
    pub(super) fn leave(&mut self, cpu: u32) {
        if let Some(task) = self.cpus[cpu as usize].current {
            self.put(cpu, task, 0);
        }
        while let Some(&task) = self.cpus[cpu as usize].local.front() {
            self.push_queued(cpu, task);
        }
        let now = self.now;
        if !self.cpus[cpu as usize].is_idle {
            let state = &mut self.cpus[cpu as usize];
            state.count_busy(now);
            (state.is_idle, state.idle_since) = (true, now);
            self.idle.in_loop.set(cpu, true);
            self.idle.set(cpu, true);
        }
        let state = &mut self.cpus[cpu as usize];
        state.epoch += 1;
        if state.nr_running == 0 {
            state.power = Power::Offline;
        }
    }

    /// A CPU comes back.
    pub fn bring_online(&mut self, cpu: u32) {
        if self.cpus[cpu as usize].power == Power::Online {
            return;
        }
        self.cpus[cpu as usize].power = Power::Online;
        self.online.set(cpu, true);
        self.note(Kind::Hotplug, cpu, NONE, 1);
        if self.loaded {
            // SAFETY: the callback takes a CPU that exists.
            self.call(cpu, Running::Unlocked, |ops| unsafe {
                ops.cpu_online.map(|online| online(cpu as i32))
            });
        }
        self.resched(cpu, 0);
    }

    /// A class above ours takes a CPU for a while.
    pub fn take_cpu(&mut self, cpu: u32, for_ns: Ns) {
        if !self.takes_tasks(cpu) {
            return;
        }
        self.charge_slice(cpu);
        self.cpus[cpu as usize].is_switching = true;
        if self.cpus[cpu as usize].is_idle {
            self.leave_idle(cpu);
        } else if let Some(task) = self.cpus[cpu as usize].current {
            self.put(cpu, task, 0);
        }
        let now = self.now;
        let state = &mut self.cpus[cpu as usize];
        state.is_switching = false;
        state.taken_until = now + for_ns;
        self.note(Kind::Taken, cpu, NONE, for_ns);
        self.after(for_ns, Event::RtEnd { cpu });
    }

    pub(super) fn rt_end(&mut self, cpu: u32) {
        if self.cpus[cpu as usize].taken_until == self.now {
            self.schedule(cpu);
        }
    }

    /// Loads the scheduler: init, then every task, then no more bypass.
    ///
    /// Returns whether it could be.
    pub fn load(&mut self) -> bool {
        self.connect();
        let cpu = self.interrupt_cpu(0);
        // SAFETY: init takes nothing.
        let result = self.call(cpu, Running::Unlocked, |ops| unsafe {
            ops.init.map_or(0, |init| init())
        });
        if result != 0 {
            return false;
        }
        self.loaded = true;
        for task in 0..self.tasks.len() as TaskId {
            if self.tasks[task as usize].state != State::Dead {
                self.reload_task(task);
            }
        }
        self.set_bypass(false);
        true
    }

    fn reload_task(&mut self, task: TaskId) {
        let cpu = self.interrupt_cpu(self.tasks[task as usize].cpu());
        let now = self.now;
        let truth = &mut self.tasks[task as usize].truth;
        truth.carried_ns += truth.run_ns;
        (truth.run_ns, truth.wait_ns, truth.sleep_ns) = (0, 0, 0);
        (truth.since, truth.changes) = (now, 0);
        let was = self.tasks[task as usize].state;
        // A failed init_task fails the whole load in the kernel; here it is tried
        // again, as the user would.
        while !self.join(cpu, task) {}
        self.tasks[task as usize].state = State::Asleep;
        self.tasks[task as usize].is_told = false;
        match was {
            State::Queued => {
                self.enter(task, State::Queued);
                self.call_runnable(cpu, task, 0);
            }
            State::Running => {
                self.enter(task, State::Queued);
                self.call_runnable(cpu, task, 0);
                self.enter(task, State::Running);
                let on = self.tasks[task as usize].cpu();
                self.call_running(on, task);
            }
            other => self.tasks[task as usize].state = other,
        }
    }

    /// Unloads the scheduler: the kernel schedules until another is loaded.
    pub fn unload(&mut self) {
        self.set_bypass(true);
        for task in 0..self.tasks.len() as TaskId {
            if self.tasks[task as usize].state != State::Dead {
                let cpu = self.interrupt_cpu(self.tasks[task as usize].cpu());
                self.check_current(task);
                self.call_away(cpu, task);
                self.part(cpu, task);
            }
        }
        let mut info = scx_exit_info {
            kind: 64,
            exit_code: 0,
        };
        let cpu = self.interrupt_cpu(0);
        // SAFETY: the callback takes what is said above.
        self.call(cpu, Running::Other, |ops| unsafe {
            ops.exit.map(|exit| exit(&raw mut info))
        });
        self.loaded = false;
        self.queues.clear();
        self.queue_ids = QueueIds::default();
        self.add_global_queues();
        // The tasks in the global queues: put there again.
        for task in 0..self.tasks.len() as TaskId {
            if let super::task::Where::Shared { .. } = self.tasks[task as usize].place {
                let cpu = self.interrupt_cpu(self.tasks[task as usize].cpu());
                self.insert_global(cpu, task);
            }
        }
    }

    /// As a task changes class it is off its CPU and its queue.
    fn call_away(&mut self, cpu: u32, task: TaskId) {
        let p = self.tasks[task as usize].ptr();
        let state = self.tasks[task as usize].state;
        if state == State::Running {
            let on = self.tasks[task as usize].cpu();
            // SAFETY: the callback takes a live task.
            self.call(on, Running::Other, |ops| unsafe {
                ops.stopping.map(|stopping| stopping(p, false))
            });
        }
        if matches!(state, State::Running | State::Queued) {
            // SAFETY: as above.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.quiescent
                    .map(|quiescent| quiescent(p, super::change::DEQUEUE_SLEEP))
            });
        }
    }

    /// Puts another copy of the scheduler in the place of the one unloaded.
    pub fn replace(&mut self, object: Object) {
        self.object = object;
    }

    pub(super) fn add_global_queues(&mut self) {
        let nodes = self
            .places
            .iter()
            .map(|place| place.node)
            .max()
            .unwrap_or(0);
        for node in 0..=nodes {
            self.add_queue(DSQ_GLOBAL + 2 + u64::from(node), true);
        }
    }

    /// The kernel's bypass mode: every waiting task is queued anew, first in,
    /// first out, or through the scheduler again.
    fn set_bypass(&mut self, on: bool) {
        self.bypass = on;
        for task in 0..self.tasks.len() as TaskId {
            if self.tasks[task as usize].state == State::Queued {
                let cpu = self.interrupt_cpu(self.tasks[task as usize].cpu());
                self.with_task_out(cpu, task, |_| ());
            }
        }
        for cpu in 0..self.cpus.len() as u32 {
            if self.cpus[cpu as usize].power != Power::Offline {
                self.resched(cpu, 0);
            }
        }
    }

    /// A CPU that waits to leave and is not let go.
    pub fn check_leaving(&mut self, bound_ns: Ns) {
        for cpu in 0..self.cpus.len() {
            let state = &self.cpus[cpu];
            if state.power == Power::Leaving && self.now - state.leaving_since > bound_ns {
                let text = format!(
                    "CPU {cpu} has waited for {} ms to go offline; {} tasks are on it",
                    (self.now - state.leaving_since) / 1_000_000,
                    state.nr_running
                );
                self.checks.fail(Check::Hotplug, self.now, text);
            }
        }
    }
}
