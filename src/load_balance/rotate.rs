// SPDX-License-Identifier: GPL-2.0-only
//! Taking turns: what no move can even out is evened out in time, by lag.
//! Never makes a domain's load less fair than it is.
//!
//! 15 equal tasks on 4 + 4 CPUs leave one domain with 8 of them at 0.50 CPU
//! each and the other with 7 at 0.57; no move helps. Here one task crosses, so
//! that the other domain is the crowded one: that turns 15 rates round at the
//! price of one move. The one that crosses stays in a crowd, so it is the one
//! that is least behind. Lag is what tells when: the tasks of the crowded
//! domain fall behind, those of the other get ahead, and once the difference
//! has reached a bound it is the others' turn. The bound grows with distance,
//! and lag is what the daemon accounts (see [`crate::lag`]).

use super::board::{Board, LEAST, Why};
use super::choose::Search;
use super::side::Exchange;

/// A SLIT distance for which the configured bound holds as it is.
const DISTANCE_UNIT: f64 = 10.0;

/// A turn: a task goes from one domain to another, for another or alone.
#[derive(Clone, Copy, Debug)]
struct Turn {
    item: u32,
    partner: Option<u32>,
    to: usize,
    /// How far those that stay in a crowd are behind, ms.
    lag_ms: f64,
}

/// Whether the tasks of some domain are so far behind those of a better-off one
/// that it may be their turn.
pub(super) fn is_due(board: &Board) -> bool {
    pairs(board).next().is_some()
}

/// Takes at most one turn for each domain, the longest overdue first.
pub(super) fn rotate(board: &mut Board) {
    let mut due: Vec<(f64, usize, usize)> = pairs(board).collect();
    due.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let mut has_had_a_turn = vec![false; board.seats.len()];
    for (_, from, to) in due {
        if has_had_a_turn[from] || has_had_a_turn[to] || !board.may_cross(from, to) {
            continue;
        }
        let Some(turn) = turn(board, from, to) else {
            continue;
        };
        match turn.partner {
            Some(partner) => board.swap(turn.item, partner, Why::TurnSwap),
            None => board.apply(turn.item, turn.to, Why::Turn),
        }
        (has_had_a_turn[from], has_had_a_turn[to]) = (true, true);
    }
}

/// How far the tasks of a domain are behind, in ms, each counted by its share.
fn behind(board: &Board, seat: usize) -> f64 {
    let seat = &board.seats[seat];
    match seat.side.load > LEAST {
        true => seat.lag / seat.side.load,
        false => 0.0,
    }
}

/// CPUs owed for each CPU there is.
fn crowding(board: &Board, seat: usize, change: f64) -> f64 {
    let side = board.seats[seat].side;
    (side.load + change) / side.capacity
}

/// Domains and better-off ones whose tasks are ahead by more than the bound, by
/// how much more.
fn pairs(board: &Board) -> impl Iterator<Item = (f64, usize, usize)> {
    let seats = 0..board.seats.len();
    let crowded = seats.clone().filter(|&seat| {
        let side = board.seats[seat].side;
        side.capacity > 0.0 && side.over() > LEAST && board.seats[seat].lag > 0.0
    });
    crowded.flat_map(move |from| {
        seats.clone().filter_map(move |to| {
            let bound_ms =
                board.config.lag_bound_ms * f64::from(board.distance(from, to)) / DISTANCE_UNIT;
            let overdue_ms = behind(board, from) - behind(board, to) - bound_ms;
            let better_off = board.seats[to].side.room() > LEAST
                && crowding(board, to, 0.0) < crowding(board, from, 0.0);
            (from != to && better_off && overdue_ms > 0.0).then_some((overdue_ms, from, to))
        })
    })
}

/// Whether a transfer turns the two round without making them less fair.
fn turns(board: &Board, from: usize, to: usize, share: f64) -> bool {
    !is_too_much(board, from, to, share)
        && crowding(board, from, -share) < crowding(board, to, share)
}

/// Whether a transfer makes the two less fair together, or their nodes in a way
/// that would bring it back: to a domain with more room on the node it left.
fn is_too_much(board: &Board, from: usize, to: usize, share: f64) -> bool {
    let lost = |giver, taker| Exchange { giver, taker }.gain(share) < -LEAST;
    let sides = |seat: usize| board.seats[seat].side;
    let from_node = board.machine.node(from);
    lost(sides(from), sides(to))
        || (from_node != board.machine.node(to)
            && lost(board.node_side(from), board.node_side(to))
            && (0..board.seats.len()).any(|seat| {
                board.machine.node(seat) == from_node
                    && sides(seat).room() > sides(to).room() + LEAST
            }))
}

/// The turn of a pair: alone if one task is of the right size, else for another.
fn turn(board: &Board, from: usize, to: usize) -> Option<Turn> {
    let any = Search {
        swap: false,
        leaves_preferred: false,
    };
    let lag_ms = |item: u32| board.task(&board.items[item as usize]).lag_ms;
    let may = |from: usize, to: usize| {
        let list = board.seats[from].sorted.iter().copied();
        list.filter(move |&item| board.may_move(item, from, to, any))
    };
    let best = |a: &Turn, b: &Turn| a.lag_ms.total_cmp(&b.lag_ms).then(a.item.cmp(&b.item));
    let alone = may(from, to)
        .filter(|&item| turns(board, from, to, board.share(item)))
        .map(|item| Turn {
            item,
            partner: None,
            to,
            lag_ms: lag_ms(item),
        })
        .min_by(best);
    if alone.is_some() {
        return alone;
    }
    let back: Vec<u32> = may(to, from).collect();
    let for_another = may(from, to).filter_map(|item| {
        let share = board.share(item);
        // The larger the partner, the less goes over: the first that is not too much.
        let end = back.partition_point(|&other| board.share(other) < share);
        let place = back[..end]
            .partition_point(|&other| is_too_much(board, from, to, share - board.share(other)));
        let &partner = back[..end].get(place)?;
        turns(board, from, to, share - board.share(partner)).then(|| Turn {
            item,
            partner: Some(partner),
            to,
            lag_ms: lag_ms(item) - lag_ms(partner),
        })
    });
    for_another.min_by(best)
}
