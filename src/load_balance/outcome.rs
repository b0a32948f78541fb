// SPDX-License-Identifier: GPL-2.0-only
//! What a plan says: entitlements, moves, and what they are worth.
//! Never computes any of it.

use std::fmt;

use crate::ids::{DomainId, TaskRef};

/// What every task is owed, and the moves that let the domains pay it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// CPUs owed to each task, parallel to the snapshot's tasks.
    pub entitlements: Vec<f64>,
    /// The level of each task in its group, parallel to the snapshot's tasks: see
    /// [`Entitlements::levels`].
    pub levels: Vec<f64>,
    /// λ, in CPUs per unit of weight; infinite if nobody is limited.
    pub level: f64,
    /// Each domain's sums, in the snapshot's order.
    pub domains: Vec<DomainPlan>,
    /// The moves, at most one a task, in the order they were decided.
    pub moves: Vec<Move>,
    /// What had to be done and what remains.
    pub certificate: Certificate,
}

/// Σ entitlement of one domain, in CPUs, against its capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DomainPlan {
    /// The domain.
    pub id: DomainId,
    /// CPUs it can hand out.
    pub capacity: f64,
    /// CPUs it owes in the snapshot.
    pub before: f64,
    /// CPUs it owes once the moves are applied.
    pub after: f64,
}

/// One task to move.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The task.
    pub task: TaskRef,
    /// Its place in the snapshot's tasks.
    pub index: usize,
    /// Where it is.
    pub from: DomainId,
    /// Where it is to go.
    pub to: DomainId,
    /// CPUs it is owed.
    pub entitlement: f64,
    /// Why.
    pub reason: Reason,
}

/// Why a task is to move: one sentence with the numbers in CPUs, once somebody
/// asks for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reason {
    /// Where it is, and where it is to go.
    pub from: Owing,
    /// Likewise.
    pub to: Owing,
    /// CPUs the task is owed.
    pub share: f64,
    /// The task it changes places with, and what that is owed.
    pub partner: Option<(TaskRef, f64)>,
    /// What is wrong besides the numbers.
    pub cause: Cause,
}

/// A domain when a move was decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Owing {
    /// The domain.
    pub id: DomainId,
    /// CPUs it owed.
    pub load: f64,
    /// CPUs it can hand out.
    pub capacity: f64,
}

/// What makes a move necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One domain owes too much, or the other too little.
    Load,
    /// The task may not use the domain it is in.
    Forbidden,
    /// One of the domains runs dry more often than the other.
    Mix,
    /// The tasks of its domain have waited longer than those of the other.
    Turn,
}

impl Reason {
    /// The sentence, with what the reader calls the domains and the tasks.
    pub fn with_names(
        &self,
        domain: impl Fn(DomainId) -> u64,
        task: impl Fn(TaskRef) -> String,
    ) -> String {
        let place = |place: Owing| {
            let (id, Owing { load, capacity, .. }) = (domain(place.id), place);
            format!("domain{id} owes {load:.3} CPUs and has {capacity:.3}")
        };
        let cause = match self.cause {
            Cause::Load => "",
            Cause::Forbidden => ", and the task may not use it",
            Cause::Mix => ", one of the two runs dry more often",
            Cause::Turn => ", and its tasks have waited longer",
        };
        let partner = match self.partner {
            Some((partner, share)) => format!(" for the {share:.3} of {}", task(partner)),
            None => String::new(),
        };
        let (from, to) = (place(self.from), place(self.to));
        format!("{from}{cause}, {to}: moves {:.3}{partner}", self.share)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_names(|id| u64::from(id.0), |task| task.to_string()))
    }
}

/// Proof that a plan does not do more than it must, and what it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Certificate {
    /// CPUs of entitlement that must cross nodes in any plan that leaves no
    /// node further from its capacity than this one leaves the worst.
    pub cross_node_min: f64,
    /// No plan that leaves no domain further off than `imbalance_after` has
    /// fewer moves than this. A lower bound, not always reached.
    pub moves_min: usize,
    /// The largest distance of a domain from a fair load, in CPUs: what it owes
    /// beyond its capacity, or what it lacks while somebody who gets less than he
    /// could use could use it.
    pub imbalance_after: f64,
    /// Why that remains.
    pub remains: Remains,
}

/// Why a plan leaves an imbalance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Remains {
    /// It leaves none.
    #[default]
    Nothing,
    /// It is within the band that is not worth a move.
    WithinBand,
    /// Balancing is switched off.
    Disabled,
    /// What one plan may do is used up; the next goes on.
    Budget,
    /// Tasks that would help rest: they were moved lately, or are on their way.
    Resting,
    /// Tasks that would help may not run where there is room.
    Confined,
    /// No task that is left to move, and no exchange of two that is worth two
    /// moves, fits.
    Granularity,
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Remains::Nothing => "nothing remains",
            Remains::WithinBand => "it is too little to be worth a move",
            Remains::Disabled => "balancing is switched off",
            Remains::Budget => "one round may do no more, the next goes on",
            Remains::Resting => "tasks that would help were moved lately and rest",
            Remains::Confined => "tasks that would help may not run where there is room",
            Remains::Granularity => "no task, and no exchange worth two moves, fits what is left",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains_and_tasks_in_a_reason_get_their_names() {
        let owing = |id, load| Owing {
            id: DomainId(id),
            load,
            capacity: 4.0,
        };
        let reason = Reason {
            from: owing(0, 5.2),
            to: owing(1, 1.0),
            share: 0.9,
            partner: Some((
                TaskRef {
                    slot: 3,
                    generation: 1,
                },
                0.25,
            )),
            cause: Cause::Turn,
        };
        assert_eq!(
            reason.with_names(|id| [70, 8][id.index()], |row| format!("task {}", row.slot)),
            "domain70 owes 5.200 CPUs and has 4.000, and its tasks have waited longer, \
             domain8 owes 1.000 CPUs and has 4.000: moves 0.900 for the 0.250 of task 3"
        );
    }
}
