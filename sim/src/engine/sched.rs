// SPDX-License-Identifier: GPL-2.0-only
//! How a CPU chooses what to run: the kernel's pick, put and set of a task.
//! Never decides between tasks: that is the scheduler's part, through dispatch.
//!
//! Follows kernel/sched/ext.c of 6.16 to 7.0: a task with slice left goes on; then
//! the local queue; then the global queue of the node; then ops.dispatch, again for
//! as long as it hands out tasks; then, as the scheduler asks for it, the last task
//! is enqueued with SCX_ENQ_LAST and the CPU goes idle.

use super::cpu::Power;
use super::task::{State, Where};
use super::{Event, Ns, Running, Step, TaskId, World};
use crate::checks::Check;
use crate::shim::{SCX_ENQ_LAST, SCX_KICK_IDLE, SCX_KICK_PREEMPT};
use crate::trace::Kind;

/// The kernel's default slice, SCX_SLICE_DFL.
pub const SLICE_DEFAULT_NS: Ns = 20_000_000;

/// How often the kernel asks again after a dispatch, SCX_DSP_MAX_LOOPS.
const DISPATCH_LOOPS: u32 = 32;

/// What a CPU is to run next.
enum Pick {
    /// The same task as before.
    Same,
    /// This one.
    Task(TaskId),
    /// Nothing.
    Idle,
}

impl World {
    /// Has `cpu` look for what to run, `delay` from now.
    pub fn resched(&mut self, cpu: u32, delay: Ns) {
        if !std::mem::replace(&mut self.cpus[cpu as usize].need_resched, true) {
            self.after(delay, Event::Resched { cpu });
        }
    }

    /// The same, from the CPU that runs this: others need an interrupt.
    pub fn resched_from(&mut self, sender: u32, cpu: u32) {
        let delay = if sender == cpu { 0 } else { self.costs.ipi_ns };
        self.resched(cpu, delay);
    }

    pub(super) fn resched_now(&mut self, cpu: u32) {
        if self.cpus[cpu as usize].need_resched {
            self.schedule(cpu);
        }
    }

    /// A kick arrives; the flags say whether it still means something.
    pub(super) fn kick_arrives(&mut self, cpu: u32, flags: u64) {
        let state = &self.cpus[cpu as usize];
        if state.power == Power::Offline || state.taken_until > self.now {
            return;
        }
        if flags & u64::from(SCX_KICK_IDLE) != 0 && !state.is_idle {
            return;
        }
        if flags & u64::from(SCX_KICK_PREEMPT) != 0
            && let Some(task) = state.current
        {
            self.tasks[task as usize].c_mut().scx.slice = 0;
        }
        self.cpus[cpu as usize].need_resched = true;
        self.schedule(cpu);
    }

    /// The tick: charge the slice, ask the scheduler, end the slice.
    pub(super) fn tick(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        state.tick_armed = false;
        if state.is_idle || state.power == Power::Offline {
            return;
        }
        self.arm_tick(cpu);
        let Some(task) = self.cpus[cpu as usize].current else {
            return;
        };
        self.charge_slice(cpu);
        let p = self.tasks[task as usize].ptr();
        if self.bypass {
            self.tasks[task as usize].c_mut().scx.slice = 0;
        } else {
            // SAFETY: the callback takes a live task.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.tick.map(|tick| tick(p))
            });
        }
        if self.tasks[task as usize].c().scx.slice == 0 {
            self.schedule(cpu);
        }
    }

    /// Ticks come on a grid that is the CPU's own.
    fn arm_tick(&mut self, cpu: u32) {
        if std::mem::replace(&mut self.cpus[cpu as usize].tick_armed, true) {
            return;
        }
        let offset = u64::from(cpu) * self.tick_ns / self.cpus.len() as u64;
        let at = (self.now + self.tick_ns - offset) / self.tick_ns * self.tick_ns + offset;
        self.at(at, Event::Tick { cpu });
    }

    /// The kernel's update_curr: what ran has used up of its slice.
    pub fn charge_slice(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        let spent = self.now - state.charged_ns;
        state.charged_ns = self.now;
        if let Some(task) = state.current {
            let slice = &mut self.tasks[task as usize].c_mut().scx.slice;
            *slice = slice.saturating_sub(spent);
        }
    }

    /// `cpu` chooses what to run.
    pub fn schedule(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        state.need_resched = false;
        if state.power == Power::Offline || state.taken_until > self.now {
            return;
        }
        state.is_switching = true;
        self.charge_slice(cpu);
        if self.cpus[cpu as usize].power == Power::Leaving {
            self.leave(cpu);
        } else {
            self.switch(cpu);
        }
        self.cpus[cpu as usize].is_switching = false;
    }

    fn switch(&mut self, cpu: u32) {
        let prev = self.cpus[cpu as usize].current;
        match self.pick(cpu, prev) {
            Pick::Same => {
                if let Some(task) = prev
                    && self.tasks[task as usize].c().scx.slice == 0
                {
                    self.tasks[task as usize].c_mut().scx.slice = SLICE_DEFAULT_NS;
                }
            }
            Pick::Task(next) => {
                // Chosen, so nobody else can take it: the kernel holds its queue.
                self.leave_queue(next);
                if let Some(task) = prev {
                    self.put(cpu, task, 0);
                }
                self.set_next(cpu, next);
            }
            Pick::Idle => {
                if let Some(task) = prev {
                    self.put(cpu, task, SCX_ENQ_LAST);
                }
                self.go_idle(cpu);
            }
        }
    }

    fn pick(&mut self, cpu: u32, prev: Option<TaskId>) -> Pick {
        let goes_on = |world: &World| {
            prev.is_some_and(|task| world.tasks[task as usize].c().scx.slice > 0 && !world.bypass)
        };
        if goes_on(self) {
            return Pick::Same;
        }
        for _ in 0..DISPATCH_LOOPS {
            if let Some(task) = self.first_local(cpu) {
                return Pick::Task(task);
            }
            if self.bypass {
                break;
            }
            if !self.dispatch(cpu, prev) {
                break;
            }
            if goes_on(self) {
                return Pick::Same;
            }
        }
        if goes_on(self) {
            return Pick::Same;
        }
        match self.first_local(cpu) {
            Some(task) => Pick::Task(task),
            // Without the scheduler's callbacks the last task simply goes on.
            None if prev.is_some() && self.bypass => Pick::Same,
            None => Pick::Idle,
        }
    }

    /// The first task of the local queue, filled from the global one.
    fn first_local(&mut self, cpu: u32) -> Option<TaskId> {
        if self.cpus[cpu as usize].local.is_empty() {
            self.consume_global(cpu);
        }
        self.cpus[cpu as usize].local.front().copied()
    }

    /// Asks the scheduler; whether it moved something.
    fn dispatch(&mut self, cpu: u32, prev: Option<TaskId>) -> bool {
        let before = self.cpus[cpu as usize].local.len();
        let p = prev.map_or(std::ptr::null_mut(), |task| self.tasks[task as usize].ptr());
        // SAFETY: the callback takes a live task or none.
        self.call(cpu, Running::Dispatching(cpu), |ops| unsafe {
            ops.dispatch.map(|dispatch| dispatch(cpu as i32, p))
        });
        self.cpus[cpu as usize].local.len() > before
    }

    /// Takes a running task off its CPU; it stays runnable.
    pub(super) fn put(&mut self, cpu: u32, task: TaskId, flags: u64) {
        self.stop_work(cpu, task);
        self.enter(task, State::Queued);
        let p = self.tasks[task as usize].ptr();
        if self.loaded {
            // SAFETY: the callback takes a live task.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.stopping.map(|stopping| stopping(p, true))
            });
        }
        self.cpus[cpu as usize].current = None;
        self.note(Kind::Stop, cpu, task, 1);
        if self.tasks[task as usize].c().scx.slice > 0 && !self.bypass {
            self.insert_local(cpu, cpu, task, true, false);
        } else {
            self.enqueue(cpu, task, flags);
        }
    }

    /// Puts a task that has left its queue on its CPU.
    pub(super) fn set_next(&mut self, cpu: u32, task: TaskId) {
        if !self.tasks[task as usize].may_use(cpu) && !self.tasks[task as usize].allowed.is_empty()
        {
            self.checks.fail(
                Check::Affinity,
                self.now,
                format!("task {task} begins to run on CPU {cpu}, which it may not use"),
            );
        }
        if self.cpus[cpu as usize].is_idle {
            self.leave_idle(cpu);
        }
        self.tasks[task as usize].c_mut().sim_cpu = cpu as i32;
        self.tally.switches += 1;
        let request = self.request_of(task).unwrap_or(0);
        self.enter(task, State::Running);
        self.note(Kind::Run, cpu, task, 0);
        let state = &mut self.cpus[cpu as usize];
        state.current = Some(task);
        state.charged_ns = self.now;
        self.call_running(cpu, task);
        self.check_answer(cpu, task, request);
        self.count_stray(cpu, task, request);
        self.begin_work(cpu, task);
        self.arm_tick(cpu);
    }

    /// A task has begun to run; `request` is what stood in its row before.
    fn count_stray(&mut self, cpu: u32, task: TaskId, request: u64) {
        let domain = self.places[cpu as usize].domain;
        let t = &mut self.tasks[task as usize];
        let before = std::mem::replace(&mut t.warm_domain, domain);
        let asked = request != 0 && (request >> 32 & 0xffff) as u32 == domain;
        if before != super::NONE && before != domain && !asked && t.role.group().is_some() {
            self.tally.strays += 1;
        }
    }

    pub(super) fn call_running(&mut self, cpu: u32, task: TaskId) {
        let p = self.tasks[task as usize].ptr();
        self.tasks[task as usize].is_told = true;
        if self.loaded {
            let before = self.tasks[task as usize].context();
            // SAFETY: the callback takes a live task.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.running.map(|running| running(p))
            });
            self.check_lag_kept(task, before);
        }
    }

    fn go_idle(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        state.current = None;
        state.epoch += 1;
        if state.is_idle {
            self.idle.set(cpu, true);
            return;
        }
        state.count_busy(self.now);
        state.is_idle = true;
        state.idle_since = self.now;
        self.idle.in_loop.set(cpu, true);
        if self.loaded && !self.bypass {
            // SAFETY: the callback takes a CPU that exists.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.update_idle.map(|update| update(cpu as i32, true))
            });
        }
        self.idle.set(cpu, true);
        self.note(Kind::Idle, cpu, super::NONE, 0);
    }

    pub(super) fn leave_idle(&mut self, cpu: u32) {
        let state = &mut self.cpus[cpu as usize];
        state.count_busy(self.now);
        state.is_idle = false;
        self.idle.in_loop.set(cpu, false);
        if self.loaded && !self.bypass {
            // SAFETY: the callback takes a CPU that exists.
            self.call(cpu, Running::Other, |ops| unsafe {
                ops.update_idle.map(|update| update(cpu as i32, false))
            });
        }
        self.idle.set(cpu, false);
    }

    /// What a task has to do before it gets on with its work: the switch, what
    /// callbacks waited for, and caches that are cold here.
    pub(super) fn begin_work(&mut self, cpu: u32, task: TaskId) {
        let place = self.places[cpu as usize];
        let t = &mut self.tasks[task as usize];
        let mut overhead = self.costs.switch_ns;
        if t.warm_llc != super::NONE && t.warm_llc != place.llc {
            self.tally.llc_migrations += 1;
            overhead += if t.warm_node == place.node {
                self.costs.llc_migration_ns
            } else {
                self.tally.node_migrations += 1;
                self.costs.node_migration_ns
            };
        }
        (t.warm_llc, t.warm_node) = (place.llc, place.node);
        let before = std::mem::replace(&mut t.warm_cpu, cpu);
        self.tally.cpu_migrations += u64::from(before != super::NONE && before != cpu);
        if t.memory_node == super::NONE {
            t.memory_node = place.node;
        }
        let state = &mut self.cpus[cpu as usize];
        overhead += std::mem::take(&mut state.owed_ns);
        state.work_start_ns = self.now + overhead;
        self.arm_burst(cpu, task);
    }

    /// Ns of time that `work` takes on `cpu`.
    fn duration(&self, cpu: u32, task: TaskId, work: Ns) -> Ns {
        let away = self.tasks[task as usize].memory_node != self.places[cpu as usize].node;
        let slower = if away {
            self.costs.remote_slowdown_pct
        } else {
            0
        };
        work.saturating_mul(100 + slower).div_ceil(100)
    }

    /// A task that runs has so much more to do.
    pub fn compute(&mut self, cpu: u32, task: TaskId, work: Ns) {
        self.tasks[task as usize].left_ns = work;
        if self.tasks[task as usize].state == State::Running {
            self.arm_burst(cpu, task);
        }
    }

    pub(super) fn arm_burst(&mut self, cpu: u32, task: TaskId) {
        let left = self.tasks[task as usize].left_ns;
        let epoch = self.cpus[cpu as usize].epoch + 1;
        self.cpus[cpu as usize].epoch = epoch;
        let at = self.cpus[cpu as usize]
            .work_start_ns
            .saturating_add(self.duration(cpu, task, left));
        if at <= self.end {
            self.at(at, Event::BurstEnd { cpu, epoch });
        }
    }

    /// Books the work that the task on `cpu` has done so far.
    pub(super) fn stop_work(&mut self, cpu: u32, task: TaskId) {
        let start = self.cpus[cpu as usize].work_start_ns;
        let spent = self.now.saturating_sub(start);
        let whole = self.duration(cpu, task, 100);
        let done = u128::from(spent) * 100 / u128::from(whole);
        let t = &mut self.tasks[task as usize];
        let done = (done as Ns).min(t.left_ns);
        t.left_ns -= done;
        t.truth.work_ns += done;
        let state = &mut self.cpus[cpu as usize];
        state.work_start_ns = start.max(self.now);
        state.epoch += 1;
    }

    /// The task on a CPU may be done with its work.
    pub(super) fn burst_end(&mut self, cpu: u32, epoch: u64) -> Step {
        if self.cpus[cpu as usize].epoch != epoch {
            return Step::Went;
        }
        let Some(task) = self.cpus[cpu as usize].current else {
            return Step::Went;
        };
        self.stop_work(cpu, task);
        // Something took the CPU's time meanwhile, or a rounding is left.
        if self.tasks[task as usize].left_ns > 0 {
            self.arm_burst(cpu, task);
            return Step::Went;
        }
        if task == self.main {
            return Step::Main;
        }
        if task == self.planner {
            return Step::Planner;
        }
        self.burst_done(cpu, task);
        Step::Went
    }

    /// The task on `cpu` goes to sleep, or, if it `ends`, for good.
    pub fn block(&mut self, cpu: u32, task: TaskId) {
        self.charge_slice(cpu);
        self.cpus[cpu as usize].is_switching = true;
        self.off_cpu(cpu, task, super::change::DEQUEUE_SLEEP);
        self.enter(task, State::Asleep);
        let t = &mut self.tasks[task as usize];
        t.sleep += 1;
        self.cpus[cpu as usize].current = None;
        self.note(Kind::Stop, cpu, task, 0);
        self.schedule(cpu);
        if self.tasks[task as usize].ends {
            self.reap(cpu, task);
        }
    }

    /// Changes what a task does, in the books of truth.
    pub fn enter(&mut self, task: TaskId, state: State) {
        let t = &mut self.tasks[task as usize];
        t.truth = t.truth_at(self.now);
        t.truth.changes += 1;
        t.state = state;
    }

    /// Takes a task out of the queue it waits in.
    pub fn leave_queue(&mut self, task: TaskId) {
        match std::mem::replace(&mut self.tasks[task as usize].place, Where::Nowhere) {
            Where::Nowhere => (),
            Where::Local(cpu) => self.cpus[cpu as usize].local.retain(|&one| one != task),
            Where::Shared { queue, key, order } => {
                self.queues[queue].remove(key, order);
            }
        }
    }
}
