// SPDX-License-Identifier: GPL-2.0-only
//! A CPU: what it runs, its local queue, its clock.
//! Never acts: see `sched`.

use std::collections::VecDeque;

use super::{Ns, TaskId};

/// Where a CPU is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Power {
    /// Takes part.
    Online,
    /// Waits until no task is left on it.
    Leaving,
    /// Gone.
    Offline,
}

/// A CPU.
pub struct Cpu {
    /// What it runs; `None`: idle, or a class above ours.
    pub current: Option<TaskId>,
    /// Its local queue.
    pub local: VecDeque<TaskId>,
    /// Grows whenever what it runs may have changed, to void events.
    pub epoch: u64,
    /// When the slice of `current` was last charged.
    pub charged_ns: Ns,
    /// From when on `current` does work: switching and cold caches come first.
    pub work_start_ns: Ns,
    /// What callbacks took before `current` was chosen: it begins that much later.
    pub owed_ns: Ns,
    /// It is choosing what to run.
    pub is_switching: bool,
    /// It will look for work soon.
    pub need_resched: bool,
    /// A tick is on the calendar.
    pub tick_armed: bool,
    /// It is in the idle loop.
    pub is_idle: bool,
    /// Since when.
    pub idle_since: Ns,
    /// A class above ours has it until then.
    pub taken_until: Ns,
    /// How far its clock is ahead, in ns.
    pub skew_ns: Ns,
    /// Whether it takes part.
    pub power: Power,
    /// When it began to leave.
    pub leaving_since: Ns,
    /// Runnable tasks on its run queue, wherever they wait.
    pub nr_running: u32,
    /// Time that it was not idle, in ns, up to `busy_until`.
    pub busy_ns: Ns,
    /// Up to when busy_ns was counted.
    pub counted_ns: Ns,
}

impl Cpu {
    /// An idle CPU whose clock is ahead by `skew_ns`.
    pub fn new(skew_ns: Ns) -> Cpu {
        Cpu {
            current: None,
            local: VecDeque::new(),
            epoch: 0,
            charged_ns: 0,
            work_start_ns: 0,
            owed_ns: 0,
            is_switching: false,
            need_resched: false,
            tick_armed: false,
            is_idle: true,
            idle_since: 0,
            taken_until: 0,
            skew_ns,
            power: Power::Online,
            leaving_since: 0,
            nr_running: 0,
            busy_ns: 0,
            counted_ns: 0,
        }
    }

    /// Brings busy_ns up to `now`; before is_idle changes.
    pub fn count_busy(&mut self, now: Ns) {
        if !self.is_idle {
            self.busy_ns += now - self.counted_ns;
        }
        self.counted_ns = now;
    }
}
