// SPDX-License-Identifier: GPL-2.0-only
//! The words in which requests and answers travel through a row, see abi.h.
//! Never touches a row.

use super::{Outcome, Ticket};
use crate::abi;
use crate::ids::{DomainId, TaskRef};

const DOMAIN_SHIFT: u32 = abi::ballast_request_bits_BALLAST_REQUEST_DOMAIN_SHIFT;
const SEQUENCE_SHIFT: u32 = abi::ballast_request_bits_BALLAST_REQUEST_SEQUENCE_SHIFT;

/// The ticket of a request; `sequence` tells it from earlier ones of the task.
pub fn ticket(task: TaskRef, target: DomainId, sequence: u16) -> Ticket {
    let word = u64::from(task.generation)
        | u64::from(target.0 & 0xffff) << DOMAIN_SHIFT
        | u64::from(sequence) << SEQUENCE_SHIFT;
    Ticket { task, target, word }
}

/// What the row's `generation` and `answer` say about `ticket`.
///
/// A request that has left the row without an answer is being answered this
/// moment, so it counts as pending.
pub fn outcome(ticket: &Ticket, generation: u32, answer: u64) -> Outcome {
    if answered(ticket, answer) {
        verdict(answer)
    } else if generation != ticket.task.generation {
        Outcome::Gone
    } else {
        Outcome::Pending
    }
}

fn answered(ticket: &Ticket, answer: u64) -> bool {
    answer >> SEQUENCE_SHIFT == ticket.word >> SEQUENCE_SHIFT
        && answer as u32 == ticket.word as u32
        && answer >> DOMAIN_SHIFT & 0xffff != u64::from(abi::ballast_verdict_BALLAST_VERDICT_NONE)
}

fn verdict(answer: u64) -> Outcome {
    match (answer >> DOMAIN_SHIFT & 0xffff) as u32 {
        abi::ballast_verdict_BALLAST_VERDICT_APPLIED => Outcome::Applied,
        abi::ballast_verdict_BALLAST_VERDICT_NOT_ALLOWED => Outcome::NotAllowed,
        _ => Outcome::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskRef = TaskRef {
        slot: 7,
        generation: 0x8000_0003,
    };

    fn answer(ticket: &Ticket, verdict: u32) -> u64 {
        u64::from(ticket.task.generation)
            | u64::from(verdict) << DOMAIN_SHIFT
            | ticket.word >> SEQUENCE_SHIFT << SEQUENCE_SHIFT
    }

    #[test]
    fn word_is_never_zero_and_keeps_its_parts_apart() {
        let ticket = ticket(TASK, DomainId(511), 0xffff);
        assert_eq!(ticket.word as u32, TASK.generation);
        assert_eq!(ticket.word >> DOMAIN_SHIFT & 0xffff, 511);
        assert_eq!(ticket.word >> SEQUENCE_SHIFT, 0xffff);
        assert_ne!(super::ticket(TASK, DomainId(0), 0).word, 0);
    }

    #[test]
    fn every_verdict_is_read() {
        let ticket = ticket(TASK, DomainId(1), 5);
        let of = |verdict| outcome(&ticket, TASK.generation, answer(&ticket, verdict));
        assert_eq!(
            of(abi::ballast_verdict_BALLAST_VERDICT_NONE),
            Outcome::Pending
        );
        assert_eq!(
            of(abi::ballast_verdict_BALLAST_VERDICT_APPLIED),
            Outcome::Applied
        );
        assert_eq!(
            of(abi::ballast_verdict_BALLAST_VERDICT_NOT_ALLOWED),
            Outcome::NotAllowed
        );
        assert_eq!(
            of(abi::ballast_verdict_BALLAST_VERDICT_STALE),
            Outcome::Gone
        );
    }

    #[test]
    fn an_older_answer_says_nothing() {
        let old = ticket(TASK, DomainId(1), 4);
        let new = ticket(TASK, DomainId(1), 5);
        let word = answer(&old, abi::ballast_verdict_BALLAST_VERDICT_APPLIED);
        assert_eq!(outcome(&new, TASK.generation, word), Outcome::Pending);
    }

    #[test]
    fn a_new_generation_means_the_task_is_gone() {
        let ticket = ticket(TASK, DomainId(1), 5);
        assert_eq!(outcome(&ticket, TASK.generation + 1, 0), Outcome::Gone);
    }
}
