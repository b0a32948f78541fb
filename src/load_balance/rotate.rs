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
use super::list::Entry;
use super::side::{Exchange, Side};

/// A SLIT distance for which the configured bound holds as it is.
const DISTANCE_UNIT: f64 = 10.0;

/// Better-off domains that are tried for each crowded one: with the next ones it
/// is less urgent, and every try looks at all tasks of both.
const MOST_ATTEMPTS: usize = 4;

/// A turn: a task goes from one domain to another, for another or alone.
#[derive(Clone, Copy, Debug)]
struct Turn {
    item: u32,
    partner: Option<u32>,
    to: usize,
    /// How far the item is behind, less its partner, ms.
    lag_ms: f64,
}

/// Whether something turns two domains round.
enum Turned {
    By(Turn),
    /// It does, once their tasks together are far enough apart.
    NotYet,
    /// Nothing does.
    Never,
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

/// Memory that is used again for the next plan.
#[derive(Debug, Default)]
pub(super) struct Rotation {
    due: Vec<Due>,
    /// Of each domain, whether it takes part, whether it has had its turn, and
    /// how often one was sought for it.
    takes_part: Vec<bool>,
    has_had_a_turn: Vec<bool>,
    attempts: Vec<usize>,
    behind: Vec<Entry>,
}

/// Takes at most one turn for each domain, the longest overdue first, and only
/// so many between nodes.
pub(super) fn rotate(board: &mut Board, memory: &mut Rotation) {
    let Rotation {
        due: pairs,
        takes_part,
        has_had_a_turn,
        attempts,
        behind,
    } = memory;
    for marks in [&mut *takes_part, &mut *has_had_a_turn] {
        marks.clear();
        marks.resize(board.seats.len(), false);
    }
    attempts.clear();
    attempts.resize(board.seats.len(), 0);
    pairs.clear();
    pairs.extend(due(board));
    pairs.sort_unstable_by(|a, b| {
        let longest = b.together_ms.max(b.alone_ms);
        longest
            .total_cmp(&a.together_ms.max(a.alone_ms))
            .then((a.from, a.to).cmp(&(b.from, b.to)))
    });
    for pair in pairs.iter() {
        (takes_part[pair.from], takes_part[pair.to]) = (true, true);
    }
    board.list(|seat| takes_part[seat]);
    let mut cross_node_turns = 0;
    for pair in pairs.iter() {
        let &Due { from, to, .. } = pair;
        let crosses = board.seats[from].node != board.seats[to].node;
        if has_had_a_turn[from]
            || has_had_a_turn[to]
            || attempts[from] == MOST_ATTEMPTS
            || !board.may_cross(from, to)
            || (crosses && cross_node_turns == board.config.cross_node_turns)
        {
            continue;
        }
        attempts[from] += 1;
        let turn = match turn(board, pair) {
            Turned::By(turn) => Some(turn),
            Turned::NotYet => None,
            Turned::Never => change_of_places(board, pair, behind),
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
fn crowding(board: &Board, seat: usize) -> f64 {
    let side = board.seats[seat].side;
    side.load / side.capacity
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
    let better_off =
        board.seats[to].side.room() > LEAST && crowding(board, to) < crowding(board, from);
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

/// The largest transfer that makes neither the two less fair together, nor their
/// nodes in a way that would bring it back: to a domain with more room on the
/// node it left. Larger ones all do.
fn most(board: &Board, from: usize, to: usize) -> f64 {
    let sides = |seat: usize| board.seats[seat].side;
    let most = most_of(sides(from), sides(to), board.largest);
    let from_node = board.machine.node(from);
    let comes_back = from_node != board.machine.node(to)
        && (0..board.seats.len()).any(|seat| {
            board.machine.node(seat) == from_node && sides(seat).room() > sides(to).room() + LEAST
        });
    match comes_back {
        true => most.min(most_of(
            board.node_side(from),
            board.node_side(to),
            board.largest,
        )),
        false => most,
    }
}

/// The largest transfer up to `most` by which nothing is lost: gains are concave,
/// so that there is one.
fn most_of(giver: Side, taker: Side, most: f64) -> f64 {
    let is_too_much = |share: f64| Exchange { giver, taker }.gain(share) < -LEAST;
    if !is_too_much(most) {
        return most;
    }
    let (mut fits, mut too_much) = (0.0, most);
    while too_much - fits > 0.01 * LEAST {
        let middle = 0.5 * (fits + too_much);
        match is_too_much(middle) {
            true => too_much = middle,
            false => fits = middle,
        }
    }
    fits
}

/// The transfer that leaves both as crowded as each other: a turn is more.
fn even(board: &Board, from: usize, to: usize) -> f64 {
    let (from, to) = (board.seats[from].side, board.seats[to].side);
    (from.load * to.capacity - to.load * from.capacity) / (from.capacity + to.capacity)
}

/// The turn of a pair: alone if one task is of the right size, else for another.
fn turn(board: &Board, pair: &Due) -> Turned {
    let &Due { from, to, .. } = pair;
    let (more_than, most) = (even(board, from, to), most(board, from, to));
    let turns = |share: f64| share > more_than && share <= most;
    let best = |a: &Turn, b: &Turn| a.lag_ms.total_cmp(&b.lag_ms).then(a.item.cmp(&b.item));
    // Mostly it is not yet time, and all that counts is whether there is one.
    let is_time = pair.together_ms > 0.0;
    let found = |turn: Option<Turn>| match turn {
        Some(turn) if is_time => Turned::By(turn),
        Some(_) => Turned::NotYet,
        None => Turned::Never,
    };
    let alone = board.see_all(from, |entries| {
        let mut alone = entries
            .filter(|entry| turns(entry.share) && may_go(board, entry, from, to))
            .map(|entry| Turn {
                item: entry.item,
                partner: None,
                to,
                lag_ms: entry.lag_ms,
            });
        match is_time {
            true => alone.min_by(best),
            false => alone.next(),
        }
    });
    if alone.is_some() {
        return found(alone);
    }
    let (list, back) = (board.sorted(from), board.sorted(to));
    let start = list.partition_point(|entry| entry.share <= more_than);
    // The larger the partner, the less goes over: the first that is not too much.
    // Shares only grow from one task to the next, and so does that partner's.
    let mut place = 0;
    let mut for_another = list[start..].iter().filter_map(|entry| {
        let too_much = |other: &Entry| entry.share - other.share > most;
        while back.get(place).is_some_and(too_much) {
            place += 1;
        }
        let mut partners = back[place..]
            .iter()
            .take_while(|other| turns(entry.share - other.share));
        let partner = partners.find(|other| may_go(board, other, to, from))?;
        may_go(board, entry, from, to).then_some(Turn {
            item: entry.item,
            partner: Some(partner.item),
            to,
            lag_ms: entry.lag_ms - partner.lag_ms,
        })
    });
    found(match is_time {
        true => for_another.min_by(best),
        false => for_another.next(),
    })
}

/// The task of the crowded domain that is furthest behind one which it could
/// change places with: one that is owed as much, or a little less.
fn change_of_places(board: &Board, pair: &Due, behind: &mut Vec<Entry>) -> Option<Turn> {
    let &Due { from, to, .. } = pair;
    // The first that finds a partner so far ahead: the furthest behind.
    let least_ms = board.seats[to].most_ahead + pair.bound_ms;
    behind.clear();
    board.see_all(from, |entries| {
        let may_turn = |entry: &Entry| entry.lag_ms > least_ms && may_go(board, entry, from, to);
        behind.extend(entries.filter(may_turn));
    });
    if behind.is_empty() {
        return None;
    }
    behind.sort_unstable_by(|a, b| b.lag_ms.total_cmp(&a.lag_ms).then(a.item.cmp(&b.item)));
    let most = most(board, from, to);
    let back = board.sorted(to);
    let with_most_ahead = |entry: &Entry| {
        let end = back.partition_point(|other| other.share <= entry.share + LEAST);
        let nearly_equal = back[..end]
            .iter()
            .rev()
            .take_while(|other| entry.share - other.share <= most);
        let by_lag =
            |a: &&Entry, b: &&Entry| a.lag_ms.total_cmp(&b.lag_ms).then(a.item.cmp(&b.item));
        let partner = nearly_equal
            .filter(|other| may_go(board, other, to, from))
            .min_by(by_lag)?;
        Some(Turn {
            item: entry.item,
            partner: Some(partner.item),
            to,
            lag_ms: entry.lag_ms - partner.lag_ms,
        })
    };
    behind
        .iter()
        .filter_map(with_most_ahead)
        .find(|turn| turn.lag_ms > pair.bound_ms)
}

/// Whether a task may go from one domain to the other, memory policy included.
fn may_go(board: &Board, entry: &Entry, from: usize, to: usize) -> bool {
    let any = Search {
        swap: false,
        leaves_preferred: false,
    };
    board.may_move(entry, from, to, any)
}
