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
    // Of each item, the place of its last step, and what its domain owed at its first.
    let mut last = vec![0; board.items.len()];
    let mut first: Vec<Option<f64>> = vec![None; board.items.len()];
    for (place, step) in board.steps.iter().enumerate() {
        last[step.item as usize] = place;
        first[step.item as usize].get_or_insert(step.from_load);
    }
    for (place, step) in board.steps.iter().enumerate() {
        let item = &board.items[step.item as usize];
        let (Some(origin), Some(from_load)) = (item.origin, first[step.item as usize]) else {
            continue;
        };
        if last[step.item as usize] == place && item.place != item.origin {
            moves.push(Move {
                task: board.task(item).task,
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
    let item = &board.items[step.item as usize];
    let place = |seat: &Seat, load: f64| {
        let capacity = seat.side.capacity;
        format!("{} owes {load:.3} CPUs and has {capacity:.3}", seat.id)
    };
    let exchanged = |partner: u32| {
        let partner = &board.items[partner as usize];
        let task = board.task(partner).task;
        format!("{:.3} for the {:.3} of {task}", item.share, partner.share)
    };
    let what = match step.why {
        Why::Load | Why::Turn => format!("{:.3}", item.share),
        Why::Swap(partner) | Why::TurnSwap(partner) => exchanged(partner),
    };
    let why = if !board.allows(item, origin) {
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
