// SPDX-License-Identifier: GPL-2.0-only
//! Mixing those that sleep with those that always run, so that no domain runs dry more
//! often than others. Never takes a domain or a node out of its band.
//!
//! A domain of which 12 tasks always run, and 10 half of the time, may owe what its 16
//! CPUs have, and yet has idle ones whenever fewer than 4 of the 10 are awake. Those help
//! other domains, and each help takes a task away from where the plan wants it. What idles
//! on average follows from the mean and the variance of how many tasks are awake. It is
//! convex in the mean and grows with the variance: spread evenly, they leave least.
//!
//! What is owed is even already, so tasks are exchanged: one for a few others that are
//! owed about the same together. Every exchange lowers the sum of what idles.

use super::board::{Board, LEAST, Seat, Why};
use super::choose::Search;
use super::levels::Levels;
use super::list::Entry;

/// A domain of which less than this part idles is well mixed…
const LEAST_PART: f64 = 5e-5;

/// …and for less than this no memory is left behind on another node…
const LEAST_REMOTE_PART: f64 = 1e-3;

/// …and where more would idle if all were spread evenly, all run dry often: tasks are taken
/// away sooner than they can be sent.
const MOST_EVEN_PART: f64 = 5e-3;

/// Only domains of which less than this part of a domain's idle CPUs idle can help it:
/// between similar ones nothing is to be had but moves.
const HELPERS_PART: f64 = 0.5;

/// What idles must shrink by this part for each move: less is not worth it.
const PART_A_MOVE: f64 = 0.05;

/// The most tasks for which one is exchanged.
const MOST_PARTNERS: usize = 8;

/// Pairs of tasks that a plan compares for this: a millisecond or two. The rest has time
/// until the next one.
pub(super) const MOST_COMPARED: usize = 2_000_000;

/// Domains of fewer CPUs are not mixed: a task more or less is too much of them.
const LEAST_CPUS: f64 = 4.0;

/// √3 / π: of a logistic distribution, the scale for a standard deviation of 1.
const SCALE: f64 = 0.5513;

/// How many of some tasks are awake.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Awake {
    mean: f64,
    variance: f64,
}

impl Awake {
    /// With a task of this demand as well, or, with −1 `times`, without it.
    pub fn plus(self, demand: f64, times: f64) -> Self {
        let task = Awake {
            mean: demand,
            variance: demand * (1.0 - demand),
        };
        self.and(task, times)
    }

    /// The two together, or the difference.
    fn and(self, other: Self, times: f64) -> Self {
        Awake {
            mean: self.mean + times * other.mean,
            variance: self.variance + times * other.variance,
        }
    }

    /// How many of these CPUs idle on average, if the number has a logistic distribution:
    /// nearly a normal one, and its integral has a closed form.
    fn idle(self, cpus: f64) -> f64 {
        let scale = SCALE * self.variance.max(LEAST).sqrt();
        let above = (cpus - self.mean) / scale;
        // Without the overflow of ln(1 + e^x).
        scale * (above.max(0.0) + (-above.abs()).exp().ln_1p())
    }
}

/// Tasks of a domain, and those of another that they are exchanged for.
#[derive(Debug)]
struct Exchange {
    forth: Vec<u32>,
    back: Vec<u32>,
    /// CPUs that idle no more, for each move.
    gain: f64,
}

/// CPUs of a domain that idle on average though somebody could use them.
fn idle(board: &Board, seat: usize) -> f64 {
    idle_with(board, seat, Awake::default(), 0.0)
}

/// The same with some tasks as well, or without them.
fn idle_with(board: &Board, seat: usize, others: Awake, times: f64) -> f64 {
    let seat = &board.seats[seat];
    match seat.side.floor > LEAST {
        true => seat.awake.and(others, times).idle(seat.side.floor),
        false => 0.0,
    }
}

/// Exchanges tasks until that helps no more, or none are `left` to compare.
/// Returns whether it helped at all.
pub(super) fn mix(board: &mut Board, levels: &Levels, left: &mut usize) -> bool {
    if *left == 0 || !is_due(board) {
        return false;
    }
    board.list(|_| true);
    let before = board.steps.len();
    loop {
        let steps = board.steps.len();
        let mut driest_first: Vec<usize> = (0..board.seats.len()).collect();
        driest_first.sort_by(|&a, &b| idle(board, b).total_cmp(&idle(board, a)));
        for seat in driest_first {
            while let Some((other, exchange)) = best(board, levels, seat, left) {
                let forth = exchange.forth.iter().map(|&item| (item, other));
                let back = exchange.back.iter().map(|&item| (item, seat));
                for (item, to) in forth.chain(back) {
                    board.apply(item, to, Why::Mix);
                }
            }
        }
        if board.steps.len() == steps || *left == 0 {
            return steps > before;
        }
    }
}

/// The part of the machine's CPUs that would idle if all domains were alike.
fn even_part(board: &Board) -> f64 {
    let short = board.seats.iter().filter(|seat| seat.side.floor > LEAST);
    let (mut awake, mut cpus, mut count) = (Awake::default(), 0.0, 0.0);
    for seat in short {
        awake = awake.and(seat.awake, 1.0);
        cpus += seat.side.floor;
        count += 1.0;
    }
    match count > 0.0 {
        true => Awake::default().and(awake, 1.0 / count).idle(cpus / count) * count / cpus,
        false => 0.0,
    }
}

/// Whether some domain runs dry much more often than another, and need not.
fn is_due(board: &Board) -> bool {
    let is_small = |seat: &Seat| seat.side.floor > LEAST && seat.side.floor < LEAST_CPUS;
    if board.seats.iter().any(is_small) {
        return false;
    }
    let mut seats = 0..board.seats.len();
    even_part(board) < MOST_EVEN_PART && seats.any(|seat| helpers(board, seat).next().is_some())
}

/// Domains that may be able to help one that runs dry.
fn helpers(board: &Board, seat: usize) -> impl Iterator<Item = usize> {
    let mine = idle(board, seat);
    let part = mine / board.seats[seat].side.floor.max(LEAST);
    let runs_dry = mine > LEAST && part > LEAST_PART;
    let others = 0..if runs_dry { board.seats.len() } else { 0 };
    others.filter(move |&other| {
        let near = board.machine.node(other) == board.machine.node(seat);
        board.seats[other].side.floor > LEAST
            && (near || part > LEAST_REMOTE_PART)
            && idle(board, other) < HELPERS_PART * mine
            && board.may_cross(seat, other)
    })
}

/// The best exchange for a domain that runs dry, with the nearest that has one.
fn best(
    board: &Board,
    levels: &Levels,
    seat: usize,
    left: &mut usize,
) -> Option<(usize, Exchange)> {
    if *left == 0 {
        return None;
    }
    let mut others: Vec<usize> = helpers(board, seat).collect();
    others.sort_by(|&a, &b| {
        let idle = idle(board, a).total_cmp(&idle(board, b));
        board
            .distance(seat, a)
            .cmp(&board.distance(seat, b))
            .then(idle)
    });
    let mut others = others.into_iter();
    others.find_map(|other| Some((other, between(board, levels, seat, other, left)?)))
}

/// The best exchange between a domain that runs dry and one that does so less.
fn between(
    board: &Board,
    levels: &Levels,
    dry: usize,
    other: usize,
    left: &mut usize,
) -> Option<Exchange> {
    let (mine, theirs) = (board.sorted(dry), board.sorted(other));
    let variance = board.seats[dry].awake.variance.max(LEAST);
    let margin = board.seats[dry].awake.mean - board.seats[dry].side.floor;
    // A domain runs dry as often as before if for a variance of 1 it gets this mean.
    let price = 0.5 * margin.max(0.0) / variance;
    // What a task does against that, for what it is owed.
    let worth = |entry: &Entry| {
        let awake = Awake::default().plus(entry.demand, 1.0);
        (awake.mean - price * awake.variance) / entry.share
    };
    let mut best: Option<Exchange> = None;
    for (ones, from, many, to) in [(&theirs, other, &mine, dry), (&mine, dry, &theirs, other)] {
        let mut last = f64::NEG_INFINITY;
        for one in ones.iter() {
            if one.share <= last + LEAST || !may_go(board, one, from, to) {
                continue;
            }
            last = one.share;
            let is_better = |entry: &Entry| match to == dry {
                true => worth(entry) < worth(one) - 0.01,
                false => worth(entry) > worth(one) + 0.01,
            };
            if board.budget() <= MOST_PARTNERS {
                return None;
            }
            if *left == 0 {
                return best;
            }
            *left = left.saturating_sub(many.len());
            let partners = partners(board, one, many, &is_better, to, from);
            let owed: f64 = partners.iter().map(|entry| entry.share).sum();
            let back = partners.iter().fold(Awake::default(), |awake, entry| {
                awake.plus(entry.demand, 1.0)
            });
            let net = back.plus(one.demand, -1.0);
            let gain = idle(board, from) + idle(board, to)
                - idle_with(board, from, net, 1.0)
                - idle_with(board, to, net, -1.0);
            let gain = gain / (1 + partners.len()) as f64;
            if partners.is_empty()
                || gain < PART_A_MOVE * idle(board, dry)
                || best.as_ref().is_some_and(|best| gain <= best.gain)
                || !levels.leaves_even(board, from, to, one.share - owed)
            {
                continue;
            }
            let one = vec![one.item];
            let many = partners.iter().map(|entry| entry.item).collect();
            let (forth, back) = match from == dry {
                true => (one, many),
                false => (many, one),
            };
            best = Some(Exchange { forth, back, gain });
        }
    }
    best
}

/// Tasks that are owed about as much together as one, the largest first.
fn partners(
    board: &Board,
    one: &Entry,
    sorted: &[Entry],
    is_better: &dyn Fn(&Entry) -> bool,
    from: usize,
    to: usize,
) -> Vec<Entry> {
    let band = board.config.band * board.seats[from].side.floor;
    let mut left = one.share + band;
    let mut partners = Vec::new();
    for entry in sorted.iter().rev() {
        if partners.len() == MOST_PARTNERS || left <= band {
            break;
        }
        if entry.share <= left && is_better(entry) && may_go(board, entry, from, to) {
            left -= entry.share;
            partners.push(*entry);
        }
    }
    partners
}

/// Whether a task may go from one domain to the other, and does not leave its memory.
fn may_go(board: &Board, entry: &Entry, from: usize, to: usize) -> bool {
    let search = Search {
        swap: true,
        leaves_preferred: false,
    };
    board.may_move(entry, from, to, search)
}
