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
//!
//! Where no transfer turns two domains round, as with one task of 1 CPU and 15
//! of 7/15, the task that is most behind and one that is most ahead change places.

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
    /// How far the item is behind, less its partner, ms.
    lag_ms: f64,
}

/// Two domains of which it may be time to turn them round.
#[derive(Clone, Copy, Debug)]
struct Due {
    from: usize,
    to: usize,
    /// By how much more than the bound the tasks of the one are behind those of
    /// the other, in ms.
    together_ms: f64,
    /// The same for the one task that is most behind and the one most ahead.
    alone_ms: f64,
    bound_ms: f64,
}

/// Whether the tasks of some domain are so far behind those of a better-off one
/// that it may be their turn.
pub(super) fn is_due(board: &Board) -> bool {
    due(board).next().is_some()
}

/// Takes at most one turn for each domain, the longest overdue first, and only
/// so many between nodes.
pub(super) fn rotate(board: &mut Board) {
    let mut pairs: Vec<Due> = due(board).collect();
    pairs.sort_unstable_by(|a, b| {
        let longest = b.together_ms.max(b.alone_ms);
        longest
            .total_cmp(&a.together_ms.max(a.alone_ms))
            .then((a.from, a.to).cmp(&(b.from, b.to)))
    });
    let mut has_had_a_turn = vec![false; board.seats.len()];
    let mut cross_node_turns = 0;
    for pair in pairs {
        let Due { from, to, .. } = pair;
        let crosses = board.seats[from].node != board.seats[to].node;
        if has_had_a_turn[from]
            || has_had_a_turn[to]
            || !board.may_cross(from, to)
            || (crosses && cross_node_turns == board.config.cross_node_turns)
        {
            continue;
        }
        let turn = match turn(board, from, to) {
            Some(turn) => Some(turn).filter(|_| pair.together_ms > 0.0),
            None => change_of_places(board, &pair),
        };
        let Some(turn) = turn else { continue };
        match turn.partner {
            Some(partner) => board.swap(turn.item, partner, Why::TurnSwap),
            None => board.apply(turn.item, turn.to, Why::Turn),
        }
        (has_had_a_turn[from], has_had_a_turn[to]) = (true, true);
        cross_node_turns += usize::from(crosses);
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

/// Crowded domains and better-off ones whose tasks are ahead by more than the bound.
fn due(board: &Board) -> impl Iterator<Item = Due> {
    let seats = 0..board.seats.len();
    let crowded = seats.clone().filter(|&seat| {
        let side = board.seats[seat].side;
        side.capacity > 0.0 && side.over() > LEAST
    });
    crowded.flat_map(move |from| seats.clone().filter_map(move |to| compare(board, from, to)))
}

fn compare(board: &Board, from: usize, to: usize) -> Option<Due> {
    let better_off = board.seats[to].side.room() > LEAST
        && crowding(board, to, 0.0) < crowding(board, from, 0.0);
    if from == to || !better_off {
        return None;
    }
    let bound_ms = board.config.lag_bound_ms * f64::from(board.distance(from, to)) / DISTANCE_UNIT;
    let due = Due {
        from,
        to,
        together_ms: behind(board, from) - behind(board, to) - bound_ms,
        alone_ms: board.seats[from].most_behind - board.seats[to].most_ahead - bound_ms,
        bound_ms,
    };
    (due.together_ms > 0.0 || due.alone_ms > 0.0).then_some(due)
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
    let may = |from: usize, to: usize| may_go(board, from, to);
    let best = |a: &Turn, b: &Turn| a.lag_ms.total_cmp(&b.lag_ms).then(a.item.cmp(&b.item));
    let alone = may(from, to)
        .filter(|&item| turns(board, from, to, board.share(item)))
        .map(|item| Turn {
            item,
            partner: None,
            to,
            lag_ms: lag_ms(board, item),
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
            lag_ms: lag_ms(board, item) - lag_ms(board, partner),
        })
    });
    for_another.min_by(best)
}

/// The task of the crowded domain that is furthest behind one which it could
/// change places with: one that is owed as much, or a little less.
fn change_of_places(board: &Board, pair: &Due) -> Option<Turn> {
    let &Due { from, to, .. } = pair;
    let back: Vec<u32> = may_go(board, to, from).collect();
    let with_most_ahead = |item: u32| {
        let share = board.share(item);
        let end = back.partition_point(|&other| board.share(other) <= share + LEAST);
        let nearly_equal = back[..end]
            .iter()
            .rev()
            .take_while(|&&other| !is_too_much(board, from, to, share - board.share(other)));
        let partner = nearly_equal.copied().min_by(|&a, &b| {
            lag_ms(board, a)
                .total_cmp(&lag_ms(board, b))
                .then(a.cmp(&b))
        })?;
        Some(Turn {
            item,
            partner: Some(partner),
            to,
            lag_ms: lag_ms(board, item) - lag_ms(board, partner),
        })
    };
    may_go(board, from, to)
        .filter(|&item| lag_ms(board, item) > board.seats[to].most_ahead + pair.bound_ms)
        .filter_map(with_most_ahead)
        .filter(|turn| turn.lag_ms > pair.bound_ms)
        .max_by(|a, b| a.lag_ms.total_cmp(&b.lag_ms).then(b.item.cmp(&a.item)))
}

/// The items that may go from one domain to the other, by share.
fn may_go(board: &Board, from: usize, to: usize) -> impl Iterator<Item = u32> {
    let any = Search {
        swap: false,
        leaves_preferred: false,
    };
    let list = board.seats[from].sorted.iter().copied();
    list.filter(move |&item| board.may_move(item, from, to, any))
}

fn lag_ms(board: &Board, item: u32) -> f64 {
    board.task(&board.items[item as usize]).lag_ms
}
