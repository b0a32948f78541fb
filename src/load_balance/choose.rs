// SPDX-License-Identifier: GPL-2.0-only
//! Which task, or which two, to move between a given pair of domains.
//! Never changes the board.

use std::cmp::Reverse;

use super::board::{Board, LEAST};
use super::list::Entry;
use super::side::Pair;

/// Tasks weighed on each side of the best fit. Enough to find the threads of
/// one process among equals, few enough that a move does not cost a pass.
const NEAR: usize = 16;

/// A choice that gains this part of the best gain is as good: the cost of the
/// move decides between them.
const AS_GOOD: f64 = 0.9;

/// What a search looks for, from what asks least to what asks most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Search {
    /// Two tasks to exchange, instead of one to move.
    pub swap: bool,
    /// Also tasks that would leave a node their memory policy prefers.
    pub leaves_preferred: bool,
}

impl Search {
    /// How many there are, and which of them this is.
    pub const COUNT: usize = 4;
    pub fn number(self) -> usize {
        2 * usize::from(self.leaves_preferred) + usize::from(self.swap)
    }

    /// In the order to try them: memory stays where it is preferred unless
    /// neither a move nor a swap can help otherwise.
    pub fn all(mempolicy_affinity: bool) -> Vec<Search> {
        let rounds: &[bool] = if mempolicy_affinity {
            &[false, true]
        } else {
            &[true]
        };
        let search = |&leaves_preferred| {
            [false, true].map(|swap| Search {
                swap,
                leaves_preferred,
            })
        };
        rounds.iter().flat_map(search).collect()
    }
}

/// One task to move, or two to exchange.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub item: u32,
    pub partner: Option<u32>,
    pub to: usize,
    pub gain: f64,
}

/// Smaller is better, field by field.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    leaves_preferred: bool,
    misses_preferred: bool,
    moved_in_this_plan: bool,
    /// Hundredths of a CPU of the task's own process left behind.
    torn: i64,
    moved_lately: Reverse<u32>,
}

impl Board<'_> {
    /// The task whose share fits the pair best: of those that gain about as
    /// much as the best, the cheapest to move.
    pub(super) fn best_move(&self, pair: &Pair, search: Search) -> Option<Choice> {
        let list = self.sorted(pair.from);
        let fit = pair.fit();
        let split = list.partition_point(|entry| entry.share <= fit + LEAST);
        let may = |entry: &&Entry| self.may_move(entry, pair.from, pair.to, search);
        let smaller = list[..split].iter().rev().filter(may).take(NEAR);
        // Gains are concave: past the fit they only fall.
        let larger = list[split..]
            .iter()
            .take_while(|entry| pair.gain(entry.share) > LEAST)
            .filter(may)
            .take(NEAR);
        let near = smaller
            .chain(larger)
            .map(|entry| (pair.gain(entry.share), entry));
        let mut found = self.near.borrow_mut();
        found.clear();
        found.extend(near.map(|(gain, &entry)| (gain, entry)));
        let (gain, entry) = cheapest(&found, LEAST, |entry| {
            (
                self.cost(&entry, pair.from, pair.to),
                entry.share > fit + LEAST,
            )
        })?;
        Some(Choice {
            item: entry.item,
            partner: None,
            to: pair.to,
            gain,
        })
    }

    /// The two tasks whose difference fits the pair best, likewise. `least` is
    /// the gain, in CPUs, below which two moves are not worth it.
    pub(super) fn best_swap(&self, pair: &Pair, search: Search, least: f64) -> Option<Choice> {
        let (forth, back) = (self.sorted(pair.from), self.sorted(pair.to));
        let may =
            |from: usize, to: usize| move |entry: &&Entry| self.may_move(entry, from, to, search);
        let back = back.iter().filter(may(pair.to, pair.from));
        let back: Vec<&Entry> = back.collect();
        let fit = pair.fit();
        let mut found: Vec<(f64, (&Entry, &Entry))> = Vec::new();
        // The partner just at or above the best fit, and the one just below.
        let mut split = 0;
        for entry in forth.iter().filter(may(pair.from, pair.to)) {
            let wanted = entry.share - fit;
            // Shares only grow from one to the next, and so does what is wanted.
            let below = |other: &&Entry| other.share < wanted - LEAST;
            while back.get(split).is_some_and(below) {
                split += 1;
            }
            for &other in back[..split].last().into_iter().chain(back.get(split)) {
                found.push((pair.gain(entry.share - other.share), (entry, other)));
            }
        }
        self.look(found.len());
        let (gain, (entry, other)) = cheapest(&found, least.max(LEAST), |(entry, other)| {
            (
                self.cost(entry, pair.from, pair.to),
                self.cost(other, pair.to, pair.from),
            )
        })?;
        Some(Choice {
            item: entry.item,
            partner: Some(other.item),
            to: pair.to,
            gain,
        })
    }

    pub(super) fn may_move(&self, entry: &Entry, from: usize, to: usize, search: Search) -> bool {
        self.look(1);
        !self.rests(entry.moved_ago_rounds, from)
            && self.allows(entry.mask, to)
            && (search.leaves_preferred || !self.leaves_preferred(entry, from, to))
    }

    /// Whether a task was moved so lately that it should stay.
    pub(super) fn rests(&self, moved_ago_rounds: u32, from: usize) -> bool {
        moved_ago_rounds < self.config.rest_rounds
            && self.seats[from].gap() <= self.config.rest_override + LEAST
    }

    fn prefers(&self, entry: &Entry, seat: usize) -> bool {
        let node = self.seats[seat].node.0;
        self.config.mempolicy_affinity
            && node < 64
            && self.item(entry.item).task.preferred_nodes >> node & 1 != 0
    }

    fn leaves_preferred(&self, entry: &Entry, from: usize, to: usize) -> bool {
        self.prefers(entry, from) && !self.prefers(entry, to)
    }

    fn cost(&self, entry: &Entry, from: usize, to: usize) -> Cost {
        Cost {
            leaves_preferred: self.leaves_preferred(entry, from, to),
            misses_preferred: !self.prefers(entry, to),
            moved_in_this_plan: self.has_moved(entry.item),
            torn: (self.torn(entry, from, to) * 100.0).round() as i64,
            moved_lately: Reverse(entry.moved_ago_rounds),
        }
    }
}

/// The cheapest of the candidates that gain nearly as much as the best, if that
/// one gains `least`. Ties go to the greater gain, then to the first.
fn cheapest<T: Copy, C: Ord>(
    candidates: &[(f64, T)],
    least: f64,
    cost: impl Fn(T) -> C,
) -> Option<(f64, T)> {
    let best = candidates.iter().map(|&(gain, _)| gain).fold(0.0, f64::max);
    if best < least {
        return None;
    }
    let as_good = candidates
        .iter()
        .filter(|(gain, _)| *gain >= (AS_GOOD * best).max(least));
    let priced = as_good.map(|&(gain, candidate)| (cost(candidate), gain, candidate));
    priced
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, gain, candidate)| (gain, candidate))
}
