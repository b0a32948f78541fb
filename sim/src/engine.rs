// SPDX-License-Identifier: GPL-2.0-only
//! The simulated machine: CPUs, tasks, queues, and the events that drive them.
//! Never does what no kernel does; where it leaves something out, it says so.
//!
//! One event at a time, in order of time and, within one instant, of arrival. The
//! callbacks of the scheduler run inside events and take no simulated time of their
//! own; what they wait for (locks) is charged to the CPU that runs them.

mod build;
mod calendar;
pub mod cgroups;
pub mod change;
pub mod cpu;
pub mod faults;
mod hotplug;
pub mod idle;
mod kfunc;
pub mod masks;
pub mod queue;
mod sched;
pub mod task;
mod wake;
pub mod work;

use scx_ballast::abi::ballast_row;

use crate::bits::CpuBits;
use crate::checks::{Check, Checks, Had};
use crate::object::Object;
use crate::rng::Stream;
use crate::scenario::{Costs, Faults, TaskGroup};
use crate::shim::{sched_ext_ops, scx_dump_ctx, task_struct};
use crate::trace::{Kind, Trace};

use calendar::Calendar;
use cgroups::Cgroups;
use cpu::Cpu;
use idle::IdleCpus;
use queue::{Queue, QueueIds};
use task::Task;
use work::Rings;

/// Nanoseconds of simulated time.
pub type Ns = u64;

/// Index of a task in [`World::tasks`].
pub type TaskId = u32;

/// Most tasks that may live at once: at less than 1 KB each on 1024 CPUs, what a
/// machine of the size that builds this has to spare.
pub const MAX_LIVE: u32 = 1 << 20;

/// Most different masks of CPUs in a run, at 1 to 3 KB each: they are kept to the end.
pub const MAX_MASKS: usize = 1 << 16;

/// No CPU, task, node.
pub const NONE: u32 = u32::MAX;

/// What happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Event {
    /// A task's sleep ends; void if it has slept anew since.
    Wake {
        task: TaskId,
        sleep: u32,
    },
    /// The work of the task on a CPU is done; void if another runs by now.
    BurstEnd {
        cpu: u32,
        epoch: u64,
    },
    /// The timer tick of a busy CPU.
    Tick {
        cpu: u32,
    },
    /// A CPU looks for what to run.
    Resched {
        cpu: u32,
    },
    /// A kick by the scheduler arrives.
    Kick {
        cpu: u32,
        flags: u64,
    },
    /// A wake-up arrives at the CPU chosen for it.
    RemoteWake {
        task: TaskId,
        flags: u64,
    },
    /// A request arrives for a server.
    Arrival {
        task: TaskId,
    },
    /// A forker's next child.
    Fork {
        task: TaskId,
    },
    /// The tasks of a group are born, or end.
    GroupStart {
        group: u32,
    },
    GroupStop {
        group: u32,
    },
    /// A class above ours leaves a CPU.
    RtEnd {
        cpu: u32,
    },
    /// The stopper thread of a CPU moves a running task off it.
    PushRunning {
        cpu: u32,
        task: TaskId,
    },
    /// A fault of this kind, or its end.
    Fault(faults::Fault),
    Undo(faults::Undo),
    /// Time to look over everything.
    Sample,
    /// The load is steady from here on: shares are counted.
    Steady,
}

/// What the caller of [`World::step`] has to attend to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Went,
    /// The daemon's main thread has a CPU and waits for its next instruction.
    Main,
    /// The balancer's thread has done its work.
    Planner,
    /// The run is over: time is up, or the scheduler was ejected.
    Over,
}

/// The callback under way, which decides what kfuncs may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// None.
    Nothing,
    /// `select_cpu` or `enqueue` of this task.
    Placing(TaskId),
    /// `dispatch` of this CPU.
    Dispatching(u32),
    /// A SYSCALL program, or a callback from which queued tasks may be moved.
    Unlocked,
    /// Any other.
    Other,
}

/// Counts of what happened, for the report.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Events handled.
    pub events: u64,
    /// Context switches.
    pub switches: u64,
    /// Kicks sent.
    pub kicks: u64,
    /// Time that callbacks waited for locks of queues, in ns.
    pub lock_wait_ns: u64,
    /// Tasks that began to run on another CPU than before.
    pub cpu_migrations: u64,
    /// Tasks that began to run in another last-level cache than before.
    pub llc_migrations: u64,
    /// Of those, on another node.
    pub node_migrations: u64,
    /// Tasks of groups that began to run in another domain than before though nobody
    /// asked for it, by wake-ups and stealing, in the judged time.
    pub strays: u64,
}

/// Where a CPU is.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Its node.
    pub node: u32,
    /// Its last-level cache, counted over the machine.
    pub llc: u32,
    /// The first CPU of its core, and how many share it.
    pub core: u32,
    /// Its domain in the scheduler's layout.
    pub domain: u32,
}

/// The machine.
pub struct World {
    /// Now.
    pub now: Ns,
    /// When the run ends.
    pub end: Ns,
    calendar: Calendar,
    order: u64,
    /// The loaded scheduler.
    pub object: Object,
    /// What runs where nothing does.
    idle_task: Box<task_struct>,
    /// Callbacks are called; false while no scheduler is loaded.
    pub loaded: bool,
    /// The kernel schedules by itself, first in, first out.
    pub bypass: bool,
    /// Where each CPU is.
    pub places: Vec<Place>,
    /// The CPUs.
    pub cpus: Vec<Cpu>,
    /// All tasks that ever were; dead ones are used again.
    pub tasks: Vec<Task>,
    /// Tasks that have ended, to be used again.
    pub free_tasks: Vec<TaskId>,
    /// Queues shared by CPUs.
    pub queues: Vec<Queue>,
    queue_ids: QueueIds,
    /// Which CPUs are idle.
    pub idle: IdleCpus,
    /// Online and taking part in scheduling.
    pub online: CpuBits,
    /// Where the search for any CPU goes on.
    any_cursor: u32,
    /// On which CPU callbacks run now.
    pub this_cpu: u32,
    /// The callback under way.
    pub running: Running,
    /// What it has waited for locks so far, in ns.
    op_delay: Ns,
    /// Control groups.
    pub cgroups: Cgroups,
    /// Groups of tasks.
    pub groups: Vec<TaskGroup>,
    /// The wake-ups of rings.
    pub rings: Rings,
    /// What things cost.
    pub costs: Costs,
    /// Time between two ticks.
    pub tick_ns: Ns,
    /// What goes wrong.
    pub faults: Faults,
    /// Numbers for what tasks do.
    pub workload: Stream,
    /// Numbers for what goes wrong.
    pub fault_stream: Stream,
    /// The same for those of tasks that somebody means to move.
    pub requeue_stream: Stream,
    /// Threads of the daemon.
    pub main: TaskId,
    /// Its balancer.
    pub planner: TaskId,
    /// The daemon is not to act before this: it stalls.
    pub stalled_until: Ns,
    /// From when on shares are counted, and what CPUs had been busy by then. Until then all
    /// count.
    pub steady_from: Ns,
    busy_before: Vec<Ns>,
    /// When it is to be killed and started again.
    pub restart_due: bool,
    next_pid: i32,
    /// Tasks that lived at once, at most.
    pub peak_live: u32,
    /// The always-on checks.
    pub checks: Checks,
    /// What happened, for the hash and for Perfetto.
    pub trace: Trace,
    /// Counts.
    pub tally: Tally,
    /// Fewer than [`MAX_LIVE`], in tests.
    pub max_live: u32,
    /// Why the run cannot go on: the scenario asks for more than memory holds.
    pub over: Option<String>,
    /// Why the scheduler was ejected.
    pub ejected: Option<String>,
    /// Text that the scheduler's dump callbacks wrote.
    pub dump: String,
}

impl World {
    /// Puts an event on the calendar, `delay` from now.
    pub fn after(&mut self, delay: Ns, event: Event) {
        self.at(self.now + delay, event);
    }

    /// Puts an event on the calendar.
    pub fn at(&mut self, at: Ns, event: Event) {
        self.order += 1;
        self.calendar.put(at.max(self.now), self.order, event);
    }

    /// Handles the next event.
    pub fn step(&mut self) -> Step {
        if self.ejected.is_some() || self.over.is_some() {
            return Step::Over;
        }
        let Some((at, event)) = self.calendar.take() else {
            return Step::Over;
        };
        if at > self.end {
            self.now = self.end;
            return Step::Over;
        }
        self.now = at;
        self.tally.events += 1;
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Step {
        match event {
            Event::Wake { task, sleep } => self.timer(task, sleep),
            Event::BurstEnd { cpu, epoch } => return self.burst_end(cpu, epoch),
            Event::Tick { cpu } => self.tick(cpu),
            Event::Resched { cpu } => self.resched_now(cpu),
            Event::Kick { cpu, flags } => self.kick_arrives(cpu, flags),
            Event::RemoteWake { task, flags } => self.remote_wake(task, flags),
            Event::Arrival { task } => self.arrival(task),
            Event::Fork { task } => self.fork(task),
            Event::GroupStart { group } => self.start_group(group),
            Event::GroupStop { group } => self.stop_group(group),
            Event::RtEnd { cpu } => self.rt_end(cpu),
            Event::PushRunning { cpu, task } => self.push_running(cpu, task),
            Event::Fault(fault) => self.fault(fault),
            Event::Undo(undo) => self.undo(undo),
            Event::Sample => self.sample(),
            Event::Steady => self.begin_steady(),
        }
        Step::Went
    }

    /// Runs a callback, or a SYSCALL program, on `cpu`; then checks that it left
    /// nothing behind, and charges the CPU what it waited for.
    pub fn call<R>(
        &mut self,
        cpu: u32,
        running: Running,
        op: impl FnOnce(&'static sched_ext_ops) -> R,
    ) -> R {
        let outer = std::mem::replace(&mut self.running, running);
        debug_assert_eq!(outer, Running::Nothing, "callbacks do not nest");
        self.this_cpu = cpu;
        let kernel = self.object.kernel();
        let ops: *const sched_ext_ops = self.object.ops();
        let machine: *mut World = self;
        // SAFETY: `machine` is derived from the exclusive borrow of the world that
        // this function holds and does not use until the callback has returned, so
        // that kfuncs may use it; the ops are never written. One thread runs it all.
        let result = unsafe {
            (*kernel).machine = machine.cast();
            op(&*ops)
        };
        self.running = Running::Nothing;
        self.left_clean();
        self.charge_delay(cpu);
        result
    }

    /// What another CPU does while a program that holds no lock goes on here.
    pub(super) fn meanwhile(&mut self, event: impl FnOnce(&mut World)) {
        let kernel = self.object.kernel();
        let outer = (
            self.running,
            self.this_cpu,
            std::mem::take(&mut self.op_delay),
        );
        // SAFETY: callbacks write the kernel, and whoever calls them: one is on its way further
        // up the stack, and it does not go on before this has returned.
        let held = unsafe {
            let held = ((*kernel).machine, (*kernel).rcu_depth, (*kernel).masks_held);
            ((*kernel).rcu_depth, (*kernel).masks_held) = (0, 0);
            held
        };
        self.running = Running::Nothing;
        event(self);
        self.tally.lock_wait_ns += self.op_delay;
        (self.running, self.this_cpu, self.op_delay) = outer;
        // SAFETY: as above.
        unsafe {
            ((*kernel).machine, (*kernel).rcu_depth, (*kernel).masks_held) = held;
        }
    }

    /// Check 9: a callback leaves no lock held and no mask unowned.
    fn left_clean(&mut self) {
        let kernel = self.object.kernel();
        // SAFETY: no callback runs, so nobody writes these.
        let (depth, held) = unsafe { ((*kernel).rcu_depth, (*kernel).masks_held) };
        if depth != 0 || held != 0 {
            self.checks.fail(
                Check::Resources,
                self.now,
                format!("a callback left {depth} RCU sections open and {held} masks unowned"),
            );
            // SAFETY: as above.
            unsafe {
                (*kernel).rcu_depth = 0;
                (*kernel).masks_held = 0;
            }
        }
    }

    /// The task on `cpu` has lost the time that a callback waited there.
    fn charge_delay(&mut self, cpu: u32) {
        let delay = std::mem::take(&mut self.op_delay);
        self.tally.lock_wait_ns += delay;
        let cpu = &mut self.cpus[cpu as usize];
        if cpu.current.is_some() && !cpu.is_switching {
            cpu.work_start_ns += delay;
        } else {
            cpu.owed_ns += delay;
        }
    }

    /// The clock of a CPU: monotone there, not between CPUs.
    pub fn clock(&self, cpu: u32) -> Ns {
        self.now + self.cpus[cpu as usize].skew_ns
    }

    /// The kernel ejects the scheduler.
    pub fn eject(&mut self, reason: String) {
        if self.ejected.is_none() {
            self.checks
                .fail(Check::Kernel, self.now, format!("ejected: {reason}"));
            self.ejected = Some(reason);
        }
    }

    /// Adds to the trace.
    pub fn note(&mut self, kind: Kind, cpu: u32, task: TaskId, detail: u64) {
        self.trace.note(self.now, kind, cpu, task, detail);
    }

    /// From here on shares are counted.
    fn begin_steady(&mut self) {
        let now = self.now;
        self.steady_from = now;
        self.book_work();
        for task in &mut self.tasks {
            let truth = task.truth_at(now);
            task.truth.run_before_ns = truth.all_run_ns();
            task.truth.work_before_ns = truth.work_ns;
            (task.truth.bursts, task.truth.longest_wait_ns) = (0, 0);
        }
        self.checks.buried.fill(Had::default());
        self.tally.strays = 0;
        for cpu in &mut self.cpus {
            cpu.count_busy(now);
        }
        self.busy_before = self.cpus.iter().map(|cpu| cpu.busy_ns).collect();
    }

    /// Books the work of what runs now.
    pub fn book_work(&mut self) {
        for cpu in 0..self.cpus.len() as u32 {
            if let Some(task) = self.cpus[cpu as usize].current {
                self.stop_work(cpu, task);
                self.arm_burst(cpu, task);
            }
        }
    }

    /// The share of the judged time in which each CPU was not idle.
    pub fn busy_shares(&mut self, span_ns: Ns) -> Vec<f64> {
        let now = self.now;
        self.cpus.iter_mut().for_each(|cpu| cpu.count_busy(now));
        self.busy_before.resize(self.cpus.len(), 0);
        let busy = self.cpus.iter().zip(&self.busy_before);
        busy.map(|(cpu, before)| (cpu.busy_ns - before) as f64 / span_ns as f64)
            .collect()
    }

    /// Has the scheduler say what state it is in.
    pub fn dump_scheduler(&mut self) {
        let mut context = scx_dump_ctx { at_ns: self.now };
        let context = &raw mut context;
        // SAFETY: the callbacks take the context, and CPUs and tasks that exist.
        self.call(0, Running::Other, |ops| unsafe {
            ops.dump.map(|dump| dump(context))
        });
        for cpu in 0..self.cpus.len() as u32 {
            let idle = self.cpus[cpu as usize].is_idle;
            // SAFETY: as above.
            self.call(0, Running::Other, |ops| unsafe {
                ops.dump_cpu.map(|dump| dump(context, cpu as i32, idle))
            });
        }
        for task in 0..self.tasks.len() {
            if self.tasks[task].state == task::State::Queued {
                let p = self.tasks[task].ptr();
                self.dump.push_str(&format!("task {task}: "));
                // SAFETY: as above.
                self.call(0, Running::Other, |ops| unsafe {
                    ops.dump_task.map(|dump| dump(context, p))
                });
                self.dump.push('\n');
            }
        }
    }

    /// The task whose row is at `slot`, NONE if no live one has it.
    pub fn task_at(&self, slot: u32) -> TaskId {
        let has = |task: &Task| task.slot() == Some(slot);
        let found = self.tasks.iter().position(has);
        found.map_or(NONE, |index| index as TaskId)
    }

    /// The request in the row of a task, if it has one; 0: none stands there.
    pub fn request_of(&self, task: TaskId) -> Option<u64> {
        let slot = self.tasks[task as usize].slot()?;
        Some(self.object.request(slot))
    }

    /// The row of a task, if it has one.
    pub fn row_of(&self, task: TaskId) -> Option<(u32, ballast_row)> {
        let slot = self.tasks[task as usize].slot()?;
        Some((slot, self.object.row(slot)))
    }
}

#[cfg(test)]
mod tests;
