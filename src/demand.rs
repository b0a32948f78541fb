// SPDX-License-Identifier: GPL-2.0-only
//! Demand: what share of a CPU each task could use if nobody were in its way.
//! Never reads the clock or the shared table: both come as arguments.
//!
//! # What is measured
//! Demand is run / (run + sleep). Waiting is left out: it tells about the others,
//! not about the task, and it changes when tasks move. Old evidence fades, by
//! half for each half-life of later evidence: time run or slept, not time
//! waited. So a task that is kept waiting is not forgotten, and a closed-loop
//! task looks the same in a crowd as alone. To learn that a sleeper has become a
//! spinner takes longer in a crowd, but never long enough to matter: a task that
//! gets r CPUs is owed about as much, and the estimate passes r after
//! log2(1 / (1 - r)) / r half-lives: 2 at r = 0.5, 1.5 at r = 0.1.
//!
//! # New tasks
//! A new task counts as 0.5 CPUs, with the weight of 1 ms of evidence. Over a
//! mix of spinners, short jobs, servers, half-busy tasks and pool threads seen
//! alone on a CPU at ages up to 20 ms, the error is 0.176 CPUs r.m.s. with that;
//! 0.189 with "1 CPU until anything is known", 0.326 with 1 CPU weighing 5 ms:
//! tasks begin awake, so the first that is seen of them is too busy already. At
//! ages up to 1 s it is 0.013 and hardly depends on this. What the weight is for
//! is a task of which almost nothing is known: microseconds do not make it a
//! spinner or a sleeper. One that ran 1 ms and slept 5 counts as 0.21, on
//! evidence of 7 ms: after 6 ms more of running it is at 0.58.
//!
//! # Bias
//! Measured against a simulated domain that shares perfectly (`demand::bias`).
//! - Closed loop (sleeps a while after each burst): none. Within 0.015 at 0.3 to 3
//!   times the capacity, whatever the weights.
//! - Open loop (work arrives by a clock): none if the task gets a CPU when it has
//!   work. If it gets r < 1, work piles up in its sleep, and a demand d < r looks
//!   like d / (1 - d (1/r - 1)); d >= r looks like 1. Never less than d.
//!
//!   | d \ r | 0.8 | 0.5 | 0.4 | 0.2 |
//!   |---|---|---|---|---|
//!   | 0.1 | 0.10 | 0.11 | 0.12 | 0.17 |
//!   | 0.3 | 0.32 | 0.43 | 0.55 | 1 |
//!   | 0.6 | 0.71 | 1 | 1 | 1 |
//! - What that does to entitlements, with r what the machine's level gives the
//!   task: one that gets less than it needs is limited by its weight, so that
//!   looking like 1 changes nothing. One that gets all it needs, slowly, is owed
//!   up to r instead of d: at most r (1 - r) / (2 - r) too much, which is never
//!   above 3 - 2√2 = 0.17 CPUs (r = 0.59), and never above (2 - r) times what it
//!   needs. In a domain more crowded than the machine it looks like 1 sooner, and
//!   may be owed all that the level gives. That errs towards relieving the domain
//!   in which its work piles up, and goes once the domain is relieved.

use crate::ids::{DomainId, MaskId, TaskRef};

pub(crate) mod ageing;

use ageing::{Aged, Ageing};

/// One row of the shared table as read in one round, not torn.
#[derive(Clone, Debug, PartialEq)]
pub struct RowSample {
    /// The row and its generation.
    pub task: TaskRef,
    /// Thread id.
    pub pid: u32,
    /// Process id.
    pub tgid: u32,
    /// Weight, nice 0 = 100.
    pub weight: f64,
    /// What vruntime is charged by if not by `weight`.
    pub charged: Option<f64>,
    /// The domain the task is in.
    pub domain: DomainId,
    /// Nanoseconds run since the row was allocated, up to the sample's time.
    pub run_ns: u64,
    /// Nanoseconds waited for a CPU, likewise.
    pub wait_ns: u64,
    /// Nanoseconds slept, likewise.
    pub sleep_ns: u64,
    /// The task may not be balanced: it is pinned to part of its domain.
    pub pinned: bool,
    /// CPUs the task may use.
    pub mask: MaskId,
    /// Bit n: the task's memory policy prefers node n (n < 64). 0: no preference.
    pub preferred_nodes: u64,
    /// Id of the control group whose weight and quota the task comes under, as
    /// the kernel counts them; 0: not known.
    pub cgroup: u64,
}

/// What is known of a task once its row has been taken in.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// CPUs it could use, 0..=1.
    pub demand: f64,
    /// What it did last; `None` if it is new.
    pub interval: Option<Interval>,
}

/// What a task did between two updates.
#[derive(Clone, Copy, Debug)]
pub struct Interval {
    /// In ns, above 0. Longer than a round after rounds that could not read the row.
    pub length_ns: u64,
    /// CPUs it received, 0..=1.
    pub received: f64,
    /// The share of the time it waited for a CPU, 0..=1, with `received` at most 1.
    pub waited: f64,
}

/// Turns the sums of the rows into demand. Memory is dense by slot: as large as
/// the highest slot seen.
#[derive(Debug)]
pub struct Estimator {
    ageing: Ageing,
    /// Counts updates; a slot whose `seen` is older was absent from the last one.
    round: u64,
    slots: Vec<Slot>,
}

/// What is remembered of one row.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The round of the last sample; 0: the slot was never used.
    seen: u64,
    generation: u32,
    at_ns: u64,
    run_ns: u64,
    wait_ns: u64,
    sleep_ns: u64,
    /// Nanoseconds run, and run or slept, each counted by what its age leaves of it.
    ran: f64,
    evidence: f64,
    /// The last interval and what it was spent on; no length: there was none yet.
    interval_ns: u64,
    interval_run_ns: u64,
    interval_wait_ns: u64,
}

/// A row missing from this many updates in a row was only unreadable so often:
/// a generation is never used twice, so what is remembered is still its own.
const REMEMBERED_ROUNDS: u64 = 8;

/// Sums this far back are the clocks of two CPUs disagreeing, in ns.
const CLOCK_SKEW_NS: u64 = 10_000_000;

/// CPUs a task wants of which nothing is known. Between those that never stop
/// and those that sleep at once; what it does is soon known, see PRIOR_NS.
const NEW_TASK_DEMAND: f64 = 0.5;

/// The assumption counts as if the task had been watched for so long, in ns.
const PRIOR_NS: f64 = 1e6;

/// What is left of a task's running after sleep without end: nothing, and not the
/// numbers just above it, which take a processor many times as long. In ns.
const LEAST_RAN_NS: f64 = 1e-100;

impl Estimator {
    /// An estimator in which evidence loses half its weight in `half_life_ns`
    /// of later evidence, run or slept. 0: only the last interval counts.
    pub fn new(half_life_ns: u64) -> Self {
        Estimator {
            ageing: Ageing::new(half_life_ns),
            round: 0,
            slots: Vec::new(),
        }
    }

    /// From now on evidence loses half its weight in `half_life_ns`. What was
    /// gathered so far keeps the weight it has and ages like all other.
    pub fn set_half_life(&mut self, half_life_ns: u64) {
        self.ageing = Ageing::new(half_life_ns);
    }

    /// Takes in one pass over the table, read at `now_ns` on the clock the
    /// sums are kept in. Rows that stay away for long are forgotten.
    pub fn update(&mut self, now_ns: u64, rows: &[RowSample]) {
        self.begin_update();
        for row in rows {
            self.take(now_ns, row);
        }
    }

    /// Begins an update of which every row is to be taken by itself.
    pub fn begin_update(&mut self) {
        self.round += 1;
    }

    /// Takes in a row of the present update; see [`Estimator::update`].
    pub fn take(&mut self, now_ns: u64, row: &RowSample) -> Estimate {
        let index = row.task.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        let slot = &mut self.slots[index];
        let remembered = slot.seen > 0 && slot.seen + REMEMBERED_ROUNDS >= self.round;
        let slept = remembered && slot.sleeps_on(row, now_ns, &mut self.ageing);
        if remembered && !slept && slot.continues(row) {
            slot.go_on(row, now_ns, &mut self.ageing);
        } else if !slept {
            *slot = Slot::begin(row, now_ns, &mut self.ageing);
        }
        slot.seen = self.round;
        Estimate {
            demand: slot.demand(),
            interval: slot.interval(),
        }
    }

    /// CPUs the task in this slot could use, 0..=1; `None` if the last update
    /// did not have it.
    pub fn demand(&self, slot: u32) -> Option<f64> {
        self.current(slot).map(Slot::demand)
    }

    /// CPUs the task in this slot received over the last interval, 0..=1;
    /// `None` if the last update did not have it or was the first to have it.
    #[cfg(test)]
    fn received(&self, slot: u32) -> Option<f64> {
        Some(self.current(slot)?.interval()?.received)
    }

    /// The share of the last interval the task in this slot waited for a CPU, 0..=1;
    /// `None` if the last update did not have it or was the first to have it.
    pub fn waited(&self, slot: u32) -> Option<f64> {
        Some(self.current(slot)?.interval()?.waited)
    }

    /// Length of that interval, in ns; `None` likewise.
    #[cfg(test)]
    fn interval_ns(&self, slot: u32) -> Option<u64> {
        Some(self.current(slot)?.interval()?.length_ns)
    }

    fn current(&self, slot: u32) -> Option<&Slot> {
        self.slots
            .get(slot as usize)
            .filter(|slot| slot.seen > 0 && slot.seen == self.round)
    }
}

impl Slot {
    /// A task seen for the first time: all it did since its row was allocated
    /// is evidence, but of no interval that is known.
    fn begin(row: &RowSample, now_ns: u64, ageing: &mut Ageing) -> Self {
        let mut slot = Slot {
            generation: row.task.generation,
            at_ns: now_ns,
            run_ns: row.run_ns,
            wait_ns: row.wait_ns,
            sleep_ns: row.sleep_ns,
            ran: NEW_TASK_DEMAND * PRIOR_NS,
            evidence: PRIOR_NS,
            ..Slot::default()
        };
        slot.learn(row.run_ns, row.sleep_ns, ageing);
        slot
    }

    /// Whether the row is the task this slot remembers, its sums not set back.
    fn continues(&self, row: &RowSample) -> bool {
        let grows = |before: u64, now: u64| before <= now.saturating_add(CLOCK_SKEW_NS);
        self.generation == row.task.generation
            && grows(self.run_ns, row.run_ns)
            && grows(self.wait_ns, row.wait_ns)
            && grows(self.sleep_ns, row.sleep_ns)
    }

    /// Adds an interval that the task slept all through, as most do: like
    /// [`Slot::go_on`], with nothing to divide. False, and nothing is added, if it did
    /// anything else.
    fn sleeps_on(&mut self, row: &RowSample, now_ns: u64, ageing: &mut Ageing) -> bool {
        let same = self.generation == row.task.generation
            && (self.run_ns, self.wait_ns) == (row.run_ns, row.wait_ns);
        if !same || self.sleep_ns >= row.sleep_ns || self.at_ns >= now_ns {
            return false;
        }
        let elapsed = now_ns - self.at_ns;
        let Aged { kept, added } = ageing.over((row.sleep_ns - self.sleep_ns).min(elapsed));
        (self.at_ns, self.sleep_ns) = (now_ns, row.sleep_ns);
        self.ran *= kept;
        if self.ran < LEAST_RAN_NS {
            self.ran = 0.0;
        }
        self.evidence = kept * self.evidence + added;
        (self.interval_ns, self.interval_run_ns) = (elapsed, 0);
        self.interval_wait_ns = 0;
        true
    }

    /// Adds what happened since the last sample.
    fn go_on(&mut self, row: &RowSample, now_ns: u64, ageing: &mut Ageing) {
        if now_ns == self.at_ns {
            // Twice in one instant: the next interval holds it all.
            return;
        }
        // Sums that fell a little are kept, or their growth would count twice.
        let grown = |sum: &mut u64, now: u64| {
            let grown = now.saturating_sub(*sum);
            *sum = now.max(*sum);
            grown
        };
        let run = grown(&mut self.run_ns, row.run_ns);
        let wait = grown(&mut self.wait_ns, row.wait_ns);
        let sleep = grown(&mut self.sleep_ns, row.sleep_ns);
        let elapsed = now_ns.saturating_sub(self.at_ns);
        self.at_ns = now_ns;
        if elapsed == 0 {
            // The clock was set back: nobody knows how long this was.
            return;
        }
        // Together the states last as long as the interval: sleep that counts
        // a suspended machine is cut to what this clock saw.
        let run = run.min(elapsed);
        let wait = wait.min(elapsed - run);
        let sleep = sleep.min(elapsed - run - wait);
        self.learn(run, sleep, ageing);
        (self.interval_ns, self.interval_run_ns) = (elapsed, run);
        self.interval_wait_ns = wait;
    }

    fn learn(&mut self, run_ns: u64, sleep_ns: u64, ageing: &mut Ageing) {
        let free_ns = run_ns.saturating_add(sleep_ns);
        if free_ns == 0 {
            return;
        }
        let Aged { kept, added } = ageing.over(free_ns);
        let run = (run_ns as f64 / free_ns as f64).min(1.0);
        self.ran = kept * self.ran + added * run;
        self.evidence = kept * self.evidence + added;
    }

    fn interval(&self) -> Option<Interval> {
        let part = |ns: u64| match ns {
            0 => 0.0,
            ns => ns as f64 / self.interval_ns as f64,
        };
        (self.interval_ns > 0).then(|| Interval {
            length_ns: self.interval_ns,
            received: part(self.interval_run_ns),
            waited: part(self.interval_wait_ns),
        })
    }

    fn demand(&self) -> f64 {
        (self.ran / self.evidence).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod bias;
#[cfg(test)]
mod gps;
#[cfg(test)]
mod tests;
