// SPDX-License-Identifier: GPL-2.0-only
//! The moves that remain when the steps of each task are taken together, and
//! the sentence that says why. Never changes the board.

use super::Move;
use super::board::{Board, Seat, Step, Why};

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

fn reason(board: &Board, step: &Step, origin: usize, from_load: f64) -> String {
    let item = board.item(step.item);
    let place = |seat: &Seat, load: f64| {
        let capacity = seat.side.capacity;
        format!("{} owes {load:.3} CPUs and has {capacity:.3}", seat.id)
    };
    let exchanged = |partner: u32| {
        let partner = board.item(partner);
        let task = partner.task.task;
        format!("{:.3} for the {:.3} of {task}", item.share, partner.share)
    };
    let what = match step.why {
        Why::Load | Why::Turn => format!("{:.3}", item.share),
        Why::Swap(partner) | Why::TurnSwap(partner) => exchanged(partner),
    };
    let why = if !board.allows(item.task.mask, origin) {
        ", and the task may not use it"
    } else if matches!(step.why, Why::Turn | Why::TurnSwap(_)) {
        ", and its tasks have waited longer"
    } else {
        ""
    };
    format!(
        "{}{why}, {}: moves {what}",
        place(&board.seats[origin], from_load),
        place(&board.seats[step.to], step.to_load)
    )
}
