// SPDX-License-Identifier: GPL-2.0-only
//! Tasks that are where they cannot stay: a domain without capacity, or one
//! outside their mask. Never moves any other.

use std::cmp::Reverse;

use ordered_float::OrderedFloat;

use super::board::{Board, Item, LEAST, Why};

/// Moves every such task, largest first, to the nearest domain with room for
/// it, or else to the one with the most room. The budget for what crosses nodes
/// does not hold them back.
pub(super) fn evacuate(board: &mut Board) {
    let mut leaving: Vec<u32> = (0u32..)
        .zip(board.items())
        .filter(|(_, item)| must_leave(board, item))
        .map(|(number, _)| number)
        .collect();
    leaving.sort_by_key(|&item| (Reverse(OrderedFloat(board.share(item))), item));
    for item in leaving {
        if board.budget() == 0 {
            return;
        }
        if let Some(to) = refuge(board, item) {
            board.apply(item, to, Why::Load);
        }
    }
}

fn must_leave(board: &Board, item: &Item) -> bool {
    let place = item.place.filter(|_| item.task.movable);
    place.is_some_and(|place| !suits(board, item, place))
}

/// Whether an item can be in a domain.
pub(super) fn suits(board: &Board, item: &Item, place: usize) -> bool {
    board.seats[place].side.capacity > 0.0 && board.allows(item.task.mask, place)
}

fn refuge(board: &Board, number: u32) -> Option<usize> {
    let item = board.item(number);
    let from = item.place?;
    let key = |seat: usize| {
        let lacks_room = board.seats[seat].gap() + item.share > LEAST;
        let distance = board.distance(from, seat);
        (lacks_room, if lacks_room { 0 } else { distance })
    };
    (0..board.seats.len())
        .filter(|&seat| suits(board, &item, seat))
        .min_by(|&a, &b| {
            key(a)
                .cmp(&key(b))
                .then(board.seats[a].gap().total_cmp(&board.seats[b].gap()))
                .then(a.cmp(&b))
        })
}
