// SPDX-License-Identifier: GPL-2.0-only
//! The book of move requests: which are under way, how each one ended.
//! Never plans; every request entered here ends as exactly one outcome.

use std::collections::BTreeMap;

use crate::ids::{DomainId, TaskRef};
use crate::kernel::{Kernel, Outcome, Ticket};

/// A request that has had no effect by the end of the round after the one that
/// made it rests on outdated numbers, and is taken back.
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

/// Requests under way, totals, and who was moved when.
#[derive(Debug, Default)]
pub struct Ledger {
    open: BTreeMap<TaskRef, (Ticket, u64)>,
    moved: BTreeMap<TaskRef, u64>,
    totals: Totals,
    round: u64,
}

impl Ledger {
    /// Begins a round: books the answers, takes back what is overdue.
    pub fn settle(&mut self, kernel: &mut dyn Kernel) {
        self.round += 1;
        let round = self.round;
        let (totals, moved) = (&mut self.totals, &mut self.moved);
        self.open.retain(|task, (ticket, asked_in)| {
            let mut outcome = kernel.outcome(ticket);
            if outcome == Outcome::Pending && round - *asked_in >= EXPIRES_AFTER_ROUNDS {
                outcome = kernel.withdraw(ticket);
            }
            match outcome {
                Outcome::Pending => return true,
                Outcome::Applied => {
                    totals.applied += 1;
                    moved.insert(*task, round);
                }
                Outcome::NotAllowed | Outcome::Gone => totals.refused += 1,
                Outcome::Expired => totals.expired += 1,
            }
            false
        });
        moved.retain(|_, moved_in| round - *moved_in <= REMEMBERED_ROUNDS);
    }

    /// Asks for a move; false if the task is gone or has a request already.
    pub fn ask(&mut self, kernel: &mut dyn Kernel, task: TaskRef, target: DomainId) -> bool {
        let Some(ticket) = kernel.request(task, target) else {
            return false;
        };
        self.totals.requested += 1;
        self.open.insert(task, (ticket, self.round));
        true
    }

    /// Where `task` is on its way to.
    pub fn target(&self, task: TaskRef) -> Option<DomainId> {
        self.open.get(&task).map(|(ticket, _)| ticket.target)
    }

    /// Rounds since `task` was last moved, `u32::MAX`: not in memory.
    pub fn moved_ago(&self, task: TaskRef) -> u32 {
        let ago = self.moved.get(&task).map(|moved_in| self.round - moved_in);
        ago.and_then(|rounds| u32::try_from(rounds).ok())
            .unwrap_or(u32::MAX)
    }

    /// The totals since the start.
    pub fn totals(&self) -> Totals {
        self.totals
    }
}
