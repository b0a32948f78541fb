// SPDX-License-Identifier: GPL-2.0-only
//! The book of move requests: which are under way, how each one ended.
//! Never plans; every request entered here ends as exactly one outcome.

use std::collections::BTreeMap;

use crate::ids::{DomainId, TaskRef};
use crate::kernel::{Kernel, Outcome, Ticket};
use crate::load_balance::Task;

/// A request that has had no effect by the end of the round after the one that
/// made it rests on outdated numbers, and is taken back: unless the task has only
/// waited in the last one, for it may wait where it was asked to go, and counts there.
const EXPIRES_AFTER_ROUNDS: u64 = 2;
/// Longest memory of a task's last move: the planner asks about a few rounds.
const REMEMBERED_ROUNDS: u64 = 64;

/// How many requests ended in each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests made.
    pub requested: u64,
    /// The task has run in the domain asked for.
    pub applied: u64,
    /// The task may not run there, or has ended.
    pub refused: u64,
    /// Taken back without effect.
    pub expired: u64,
}

/// Requests under way, totals, and who was moved when. Memory is dense by slot:
/// as large as the highest slot that was asked about.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<TaskRef, (Ticket, u64)>,
    slots: Vec<Slot>,
    totals: Totals,
    round: u64,
}

/// What is known of the tasks of one row: every task is looked up each round,
/// and few have anything to find.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// Requests under way; more than one if the row has changed hands.
    open: u32,
    /// Who was moved last, and in which round; round 0: nobody.
    moved: (u32, u64),
}

impl Ledger {
    /// Begins a round: books the answers, takes back what is overdue. `only_waited`
    /// tells of a task whether it neither ran nor slept since the last round.
    pub fn settle(&mut self, kernel: &mut dyn Kernel, only_waited: impl Fn(TaskRef) -> bool) {
        self.round += 1;
        let round = self.round;
        let (totals, slots) = (&mut self.totals, &mut self.slots);
        self.open.retain(|task, (ticket, asked_in)| {
            let mut outcome = kernel.outcome(ticket);
            let is_overdue = round - *asked_in >= EXPIRES_AFTER_ROUNDS;
            if outcome == Outcome::Pending && is_overdue && !only_waited(*task) {
                outcome = kernel.withdraw(ticket);
            }
            let slot = &mut slots[task.slot as usize];
            match outcome {
                Outcome::Pending => return true,
                Outcome::Applied => {
                    totals.applied += 1;
                    slot.moved = (task.generation, round);
                }
                Outcome::NotAllowed | Outcome::Gone => totals.refused += 1,
                Outcome::Expired => totals.expired += 1,
            }
            slot.open -= 1;
            false
        });
    }

    /// Asks for a move; false if the task is gone or has a request already.
    pub fn ask(&mut self, kernel: &mut dyn Kernel, task: TaskRef, target: DomainId) -> bool {
        let Some(ticket) = kernel.request(task, target) else {
            return false;
        };
        self.totals.requested += 1;
        let index = task.slot as usize;
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        // One that was open for the same task has been answered: it is replaced.
        if self.open.insert(task, (ticket, self.round)).is_none() {
            self.slots[index].open += 1;
        }
        true
    }

    /// Writes into a task as read what is booked of it. One under way counts where it
    /// is going, and is not moved again.
    #[inline]
    pub fn mark(&self, task: &mut Task) {
        let Some(slot) = self.slots.get(task.task.slot as usize) else {
            return;
        };
        if slot.open > 0
            && let Some((ticket, _)) = self.open.get(&task.task)
        {
            task.domain = ticket.target;
            task.movable = false;
        }
        let (generation, round) = slot.moved;
        if round > 0 && generation == task.task.generation {
            let ago = self.round - round;
            if ago <= REMEMBERED_ROUNDS {
                task.moved_ago_rounds = ago as u32;
            }
        }
    }

    /// The totals since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}
