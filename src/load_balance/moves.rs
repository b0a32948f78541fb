// SPDX-License-Identifier: GPL-2.0-only
//! The moves that remain when the steps of each task are taken together, and
//! why. Never changes the board.

use super::board::{Board, Step, Why};
use super::{Cause, Move, Owing, Reason};

/// Writes the moves of a board, in the order they were decided.
pub(super) fn write(board: &Board, moves: &mut Vec<Move>) {
    moves.clear();
    if board.steps.is_empty() {
        return;
    }
    let mut by_item: Vec<usize> = (0..board.steps.len()).collect();
    by_item.sort_by_key(|&place| board.steps[place].item);
    // Of each item, the place of its last step, and what its domain owed at its first.
    let same = |&a: &usize, &b: &usize| board.steps[a].item == board.steps[b].item;
    let ends = by_item.chunk_by(same).filter_map(|places| {
        let (&first, &last) = (places.first()?, places.last()?);
        Some((last, board.steps[first].from_load))
    });
    let mut ends: Vec<(usize, f64)> = ends.collect();
    ends.sort_unstable_by_key(|&(last, _)| last);
    for (last, from_load) in ends {
        let step = &board.steps[last];
        let item = board.item(step.item);
        let Some(origin) = item.origin else { continue };
        if item.place != item.origin {
            moves.push(Move {
                task: item.task.task,
                index: item.index,
                from: board.seats[origin].id,
                to: board.seats[step.to].id,
                entitlement: item.share,
                reason: reason(board, step, origin, from_load),
            });
        }
    }
}

fn reason(board: &Board, step: &Step, origin: usize, from_load: f64) -> Reason {
    let item = board.item(step.item);
    let owing = |seat: usize, load: f64| {
        let seat = &board.seats[seat];
        Owing {
            id: seat.id,
            load,
            capacity: seat.side.capacity,
        }
    };
    let partner = |number: u32| {
        let partner = board.item(number);
        (partner.task.task, partner.share)
    };
    Reason {
        from: owing(origin, from_load),
        to: owing(step.to, step.to_load),
        share: item.share,
        partner: match step.why {
            Why::Load | Why::Mix | Why::Turn => None,
            Why::Swap(number) | Why::TurnSwap(number) => Some(partner(number)),
        },
        cause: match step.why {
            _ if !board.allows(item.task.mask, origin) => Cause::Forbidden,
            Why::Turn | Why::TurnSwap(_) => Cause::Turn,
            Why::Mix => Cause::Mix,
            Why::Load | Why::Swap(_) => Cause::Load,
        },
    }
}
