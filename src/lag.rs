// SPDX-License-Identifier: GPL-2.0-only
//! Lag: what the machine still owes each task, in ms of CPU.
//! Never decides anything, and never reads the clock or the shared table.
//!
//! Lag is ∫ (c − received) dt, with three exceptions that keep it a debt that
//! moving the task could pay:
//! - A task is owed only what it waited for. One that slept through its
//!   entitlement wanted nothing in that time, whatever the demand estimate said.
//! - Old lag fades with a half-life.
//! - Lag is bounded either way.

use crate::demand::ageing::{Aged, Ageing};
use crate::ids::TaskRef;

/// Lag loses half of itself in so many ns. Long against a round, so that the
/// third of a ms that a crowded task loses every 10 ms adds up to something
/// rotation can see (15 equal tasks on 4 + 4 CPUs: up to 480 ms); short against
/// the life of a task: what was unfair a minute ago is not worth a migration.
const HALF_LIFE_NS: u64 = 10_000_000_000;

/// No task is owed, or owes, more than so many ms of CPU. An entitlement that
/// was wrong for long can then be forgotten in a few half-lives.
const MOST_MS: f64 = 1_000.0;

/// Less is nothing: it would fade without end, through numbers so small that they take
/// a processor many times as long.
const LEAST_MS: f64 = 1e-100;

/// A task missing from this many rounds in a row was only unreadable so often,
/// as in [`crate::demand`].
const REMEMBERED_ROUNDS: u64 = 8;

const NS_PER_MS: f64 = 1e6;

/// The lag of every task. Memory is dense by slot: as large as the highest slot
/// seen.
#[derive(Debug)]
pub struct Lags {
    ageing: Ageing,
    round: u64,
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// The round of the last account.
    seen: u64,
    generation: u32,
    lag_ms: f64,
}

impl Default for Lags {
    fn default() -> Self {
        Lags {
            ageing: Ageing::new(HALF_LIFE_NS),
            round: 0,
            slots: Vec::new(),
        }
    }
}

impl Lags {
    /// Begins a round: tasks that are not accounted for in several are forgotten.
    pub fn begin_round(&mut self) {
        self.round += 1;
    }

    /// Adds an interval of `interval_ns` in which the task was owed
    /// `entitlement` CPUs, got `received` of them and waited the share `waited`
    /// of the time (all 0..=1). What is not a number counts as nothing. A new
    /// generation begins at 0. Returns the lag of the task, in ms, as from [`Lags::lag_ms`].
    pub fn account(
        &mut self,
        task: TaskRef,
        entitlement: f64,
        received: f64,
        waited: f64,
        interval_ns: u64,
    ) -> f64 {
        let index = task.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        let before = self.lag_ms(task);
        let growth = growth(entitlement, received, waited);
        // Most tasks sleep, and sooner or later have no lag.
        let lag_ms = if growth == 0.0 && before.abs() < LEAST_MS {
            0.0
        } else {
            // Lag comes in evenly over the interval and fades from then on.
            let Aged { kept, added } = self.ageing.over(interval_ns);
            let grown = growth * added / NS_PER_MS;
            (before * kept + grown).clamp(-MOST_MS, MOST_MS)
        };
        self.slots[index] = Slot {
            seen: self.round,
            generation: task.generation,
            lag_ms,
        };
        lag_ms
    }

    /// What the task is still owed, in ms of CPU, −1000..=1000; below 0: it got
    /// more than its due. 0 for a task that is not known.
    pub fn lag_ms(&self, task: TaskRef) -> f64 {
        self.slots
            .get(task.slot as usize)
            .filter(|slot| slot.generation == task.generation)
            .filter(|slot| slot.seen + REMEMBERED_ROUNDS >= self.round)
            .map_or(0.0, |slot| slot.lag_ms)
    }
}

/// CPUs by which the debt grows, −1..=1.
fn growth(entitlement: f64, received: f64, waited: f64) -> f64 {
    let behind = entitlement - received;
    if behind.is_nan() || waited.is_nan() {
        return 0.0;
    }
    // Without a wait nothing is owed; what it had beyond its due it always owes.
    behind.min(waited.max(0.0)).clamp(-1.0, 1.0)
}

#[cfg(test)]
mod tests;
