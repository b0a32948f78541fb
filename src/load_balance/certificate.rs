// SPDX-License-Identifier: GPL-2.0-only
//! The certificate: bounds that hold for every plan, and what remains.
//! Never looks at how the plan was found.

use ordered_float::OrderedFloat;

use super::board::{Board, Item, LEAST};
use super::evacuate::suits;
use super::side::Exchange;
use super::{Certificate, Remains};

/// Certifies the board's present state against that at the start.
pub(super) fn certify(board: &Board) -> Certificate {
    let faults = board.seats.iter().map(|seat| seat.side.fault());
    let worst = faults.fold(0.0, f64::max);
    let imbalance_after = if worst > LEAST { worst } else { 0.0 };
    let forced = Forced::count(board);
    Certificate {
        cross_node_min: cross_node_min(board).max(forced.crossing),
        moves_min: moves_min(board, imbalance_after).max(forced.moves),
        imbalance_after,
        remains: remains(board, imbalance_after),
    }
}

/// Moves of tasks that could not stay where they were.
#[derive(Default)]
struct Forced {
    moves: usize,
    /// CPUs of those that no domain of their node could have taken.
    crossing: f64,
}

impl Forced {
    fn count(board: &Board) -> Forced {
        let mut forced = Forced::default();
        if !board.has_evacuees {
            return forced;
        }
        for item in board.items().filter(|item| item.place != item.origin) {
            let Some(origin) = item.origin else { continue };
            if suits(board, &item, origin) {
                continue;
            }
            forced.moves += 1;
            let node = board.seats[origin].node;
            let mut near = (0..board.seats.len()).filter(|&seat| board.seats[seat].node == node);
            if !near.any(|seat| suits(board, &item, seat)) {
                forced.crossing += item.share;
            }
        }
        forced
    }
}

/// What a node owes beyond its capacity and the largest remainder must leave
/// it; what it lacks must come in. Both count the same load: take the larger.
fn cross_node_min(board: &Board) -> f64 {
    // The first domain of each node stands for it.
    let first = |&seat: &usize| {
        let node = board.seats[seat].node;
        board.seats[..seat].iter().all(|other| other.node != node)
    };
    let nodes = || (0..board.seats.len()).filter(first);
    let remains = nodes()
        .map(|seat| board.node_side(seat).fault())
        .fold(0.0, f64::max);
    let before = |seat: usize| {
        let node = board.seats[seat].node;
        let seats = board.seats.iter().filter(|seat| seat.node == node);
        let change: f64 = seats.map(|seat| seat.before - seat.side.load).sum();
        board.node_side(seat).plus(change)
    };
    let out: f64 = nodes()
        .map(|seat| (before(seat).over() - remains).max(0.0))
        .sum();
    let lacking: f64 = nodes()
        .map(|seat| (-before(seat).spare() - remains).max(0.0))
        .sum();
    let least = out.max(lacking);
    if least > LEAST { least } else { 0.0 }
}

/// Every domain gets rid of its excess with its largest tasks, or gets what it
/// lacks in pieces as large as the largest task.
fn moves_min(board: &Board, remains: f64) -> usize {
    let before = |seat: usize| {
        let seat = &board.seats[seat];
        seat.side.plus(seat.before - seat.side.load)
    };
    let excess = |seat: usize| before(seat).over() - remains - LEAST;
    let lack = |seat: usize| -before(seat).spare() - remains - LEAST;
    let seats = 0..board.seats.len();
    let mut out = 0;
    if seats.clone().any(|seat| excess(seat) > 0.0) {
        let mut shares: Vec<Vec<f64>> = vec![Vec::new(); board.seats.len()];
        let has_excess: Vec<bool> = seats.clone().map(|seat| excess(seat) > 0.0).collect();
        for number in 0..board.len() {
            let origin = board.origin(number);
            if let Some(seat) = origin.filter(|&seat| has_excess[seat])
                && board.is_movable(number)
            {
                shares[seat].push(board.share(number));
            }
        }
        let fewest = seats
            .clone()
            .map(|seat| fewest(&mut shares[seat], excess(seat)));
        out = fewest.sum();
    }
    let largest = board.largest;
    let pieces = |seat: usize| match lack(seat) {
        lack if lack > 0.0 && largest > 0.0 => (lack / largest).ceil() as usize,
        _ => 0,
    };
    out.max(seats.map(pieces).sum())
}

/// How many of the largest shares it takes to make up for the excess, or all. In
/// linear time: what is larger than the middle one tells in which half the last is.
fn fewest(shares: &mut [f64], excess: f64) -> usize {
    let (mut shares, mut left, mut count) = (shares, excess, 0);
    while left > 0.0 && !shares.is_empty() {
        let middle = shares.len() / 2;
        let (larger, &mut share, smaller) =
            shares.select_nth_unstable_by(middle, |a, b| b.total_cmp(a));
        let sum: f64 = larger.iter().sum();
        if sum >= left {
            shares = larger;
            continue;
        }
        left -= sum + share;
        count += middle + 1;
        shares = smaller;
    }
    count
}

/// Why the worst domain is as far off as it is.
fn remains(board: &Board, imbalance: f64) -> Remains {
    if imbalance <= LEAST {
        return Remains::Nothing;
    }
    if !board.config.enabled {
        return Remains::Disabled;
    }
    if board.cut_short.get() {
        return Remains::Budget;
    }
    let config = board.config;
    let within = |side: super::side::Side| {
        let band = config.band.max(config.remote_band) * side.capacity;
        side.fault() <= band.min(board.largest) + LEAST
    };
    if board.seats.iter().all(|seat| within(seat.side)) {
        return Remains::WithinBand;
    }
    held_back(board, imbalance)
}

/// What holds back the tasks that would relieve the worst domain, if a task
/// would.
fn held_back(board: &Board, imbalance: f64) -> Remains {
    let worst = |seat: &usize| board.seats[*seat].side.fault() >= imbalance;
    let Some(worst) = (0..board.seats.len()).find(worst) else {
        return Remains::Granularity;
    };
    let gives = board.seats[worst].side.over() > 0.0;
    let mut found = Remains::Granularity;
    for item in board.items() {
        let Some(from) = item.place.filter(|&place| (place == worst) == gives) else {
            continue;
        };
        let to = match gives {
            true => roomiest(board, worst),
            false => worst,
        };
        match obstacle(board, &item, from, to) {
            Some(Remains::Confined) => return Remains::Confined,
            Some(obstacle) => found = obstacle,
            None => {}
        }
    }
    found
}

/// Why an item does not go from one domain to another, if it would help there.
fn obstacle(board: &Board, item: &Item, from: usize, to: usize) -> Option<Remains> {
    let exchange = Exchange {
        giver: board.seats[from].side,
        taker: board.seats[to].side,
    };
    if exchange.gain(item.share) <= LEAST {
        return None;
    }
    if !item.task.movable || !board.allows(item.task.mask, to) {
        return Some(Remains::Confined);
    }
    board
        .rests(item.task.moved_ago_rounds, from)
        .then_some(Remains::Resting)
}

fn roomiest(board: &Board, but: usize) -> usize {
    let room = |seat: &usize| OrderedFloat(board.seats[*seat].side.room());
    let others = (0..board.seats.len()).filter(|&seat| seat != but);
    others.max_by_key(room).unwrap_or(but)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::fewest;

    proptest! {
        #![proptest_config(crate::seeds::config("load_balance::certificate"))]

        #[test]
        fn the_fewest_are_the_largest(
            // Sixteenths: every sum is exact.
            shares in prop::collection::vec(0..16u32, 0..60), excess in -1..500i32,
        ) {
            let mut sorted = shares.clone();
            sorted.sort_unstable();
            let (mut left, mut count) = (excess, 0);
            while left > 0 && let Some(share) = sorted.pop() {
                left -= share as i32;
                count += 1;
            }
            let mut shares: Vec<f64> = shares.iter().map(|&share| f64::from(share) / 16.0).collect();
            prop_assert_eq!(fewest(&mut shares, f64::from(excess) / 16.0), count);
        }
    }
}
