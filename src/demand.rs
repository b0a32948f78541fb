// SPDX-License-Identifier: GPL-2.0-only
//! Demand: what share of a CPU each task could use if nobody were in its way.
//! Never reads the clock or the shared table: both come as arguments.
//!
//! Demand is run / (run + sleep), averaged with an exponential half-life.
//! Waiting is left out: it tells about the others, not about the task, and it
//! changes when tasks move.

use crate::ids::{DomainId, MaskId, TaskRef};

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
}

/// Turns the sums of the rows into demand. Memory is dense by slot: as large as
/// the highest slot seen.
#[derive(Debug)]
pub struct Estimator {
    half_life_ns: u64,
    /// Counts updates; a slot whose `seen` is older was absent from the last one.
    round: u64,
    slots: Vec<Slot>,
}

/// What is remembered of one row.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    seen: u64,
    generation: u32,
    at_ns: u64,
    run_ns: u64,
    wait_ns: u64,
    sleep_ns: u64,
    /// Averages of CPUs run and of CPUs run or slept, each within 0..=1.
    run: f64,
    active: f64,
    demand: f64,
    received: Option<f64>,
}

/// Below this share of awake or asleep time there is no evidence to divide by.
/// A task that only waits gets here after some 40 half-lives.
const LEAST_EVIDENCE: f64 = 1e-12;

/// A row missing from this many updates in a row was only unreadable so often:
/// a generation is never used twice, so what is remembered is still its own.
const REMEMBERED_ROUNDS: u64 = 8;

/// Sums this far back are the clocks of two CPUs disagreeing, in ns.
const CLOCK_SKEW_NS: u64 = 10_000_000;

/// A task nothing is known about yet wants a CPU: otherwise it would not be new.
const NEW_TASK_DEMAND: f64 = 1.0;

impl Estimator {
    /// An estimator in which evidence loses half its weight in `half_life_ns`
    /// of elapsed time. 0: only the last interval counts.
    pub fn new(half_life_ns: u64) -> Self {
        Estimator {
            half_life_ns,
            round: 0,
            slots: Vec::new(),
        }
    }

    /// Takes in one pass over the table, read at `now_ns` on the clock the
    /// sums are kept in. Rows that stay away for long are forgotten.
    pub fn update(&mut self, now_ns: u64, rows: &[RowSample]) {
        self.round += 1;
        for row in rows {
            let index = row.task.slot as usize;
            if self.slots.len() <= index {
                self.slots.resize(index + 1, Slot::default());
            }
            let slot = &mut self.slots[index];
            let known =
                slot.seen > 0 && slot.seen + REMEMBERED_ROUNDS >= self.round && slot.continues(row);
            if !known {
                *slot = Slot::begin(row);
            }
            slot.take(row, now_ns, known, self.half_life_ns);
            slot.seen = self.round;
        }
    }

    /// CPUs the task in this slot could use, 0..=1; `None` if the last update
    /// did not have it.
    pub fn demand(&self, slot: u32) -> Option<f64> {
        self.current(slot).map(|slot| slot.demand)
    }

    /// CPUs the task in this slot received over the last interval, 0..=1;
    /// `None` if the last update did not have it or was the first to have it.
    pub fn received(&self, slot: u32) -> Option<f64> {
        self.current(slot).and_then(|slot| slot.received)
    }

    fn current(&self, slot: u32) -> Option<&Slot> {
        self.slots
            .get(slot as usize)
            .filter(|slot| slot.seen > 0 && slot.seen == self.round)
    }
}

impl Slot {
    fn begin(row: &RowSample) -> Self {
        Slot {
            generation: row.task.generation,
            demand: NEW_TASK_DEMAND,
            ..Slot::default()
        }
    }

    /// Whether the row is the task this slot remembers, its sums not set back.
    fn continues(&self, row: &RowSample) -> bool {
        let grows = |before: u64, now: u64| before <= now.saturating_add(CLOCK_SKEW_NS);
        self.generation == row.task.generation
            && grows(self.run_ns, row.run_ns)
            && grows(self.wait_ns, row.wait_ns)
            && grows(self.sleep_ns, row.sleep_ns)
    }

    /// Adds what happened since the last sample; for a task that was not known,
    /// since its row was allocated.
    fn take(&mut self, row: &RowSample, now_ns: u64, known: bool, half_life_ns: u64) {
        let run_ns = row.run_ns.saturating_sub(self.run_ns);
        let wait_ns = row.wait_ns.saturating_sub(self.wait_ns);
        let sleep_ns = row.sleep_ns.saturating_sub(self.sleep_ns);
        let elapsed_ns = if known {
            now_ns.saturating_sub(self.at_ns)
        } else {
            run_ns.saturating_add(wait_ns).saturating_add(sleep_ns)
        };
        if known && elapsed_ns == 0 {
            // Twice in one instant, or a clock set back: wait for a real interval.
            self.at_ns = self.at_ns.min(now_ns);
            return;
        }
        (self.at_ns, self.run_ns) = (now_ns, row.run_ns);
        (self.wait_ns, self.sleep_ns) = (row.wait_ns, row.sleep_ns);
        self.average(run_ns, sleep_ns, elapsed_ns, half_life_ns);
        self.received = known.then(|| share(run_ns, elapsed_ns));
    }

    fn average(&mut self, run_ns: u64, sleep_ns: u64, elapsed_ns: u64, half_life_ns: u64) {
        // No state can last longer than the interval: sleep that counts a
        // suspended machine is cut to what this clock saw.
        let run = share(run_ns, elapsed_ns);
        let sleep = share(sleep_ns, elapsed_ns).min(1.0 - run);
        let kept = match half_life_ns {
            0 => 0.0,
            _ => (-(elapsed_ns as f64) / half_life_ns as f64).exp2(),
        };
        self.run = kept * self.run + (1.0 - kept) * run;
        self.active = kept * self.active + (1.0 - kept) * (run + sleep);
        if self.active > LEAST_EVIDENCE {
            self.demand = (self.run / self.active).clamp(0.0, 1.0);
        }
    }
}

/// The part of the interval, 0..=1.
fn share(part_ns: u64, elapsed_ns: u64) -> f64 {
    if elapsed_ns == 0 {
        return 0.0;
    }
    (part_ns as f64 / elapsed_ns as f64).min(1.0)
}

#[cfg(test)]
mod tests;
