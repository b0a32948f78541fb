// SPDX-License-Identifier: GPL-2.0-only
//! Settling the members of one level against their capacities.
//! Never knows which level it is: a member is a set of domains.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ordered_float::OrderedFloat;

use super::board::{Board, LEAST, Seat, Why};
use super::choose::{Choice, Search};
use super::side::{Exchange, Pair, Side};

/// The nearest partner is taken if it gains this part of what the best could:
/// distance is worth that much. Otherwise all are compared.
const NEAR_ENOUGH: f64 = 0.9;

/// How far off a member may be.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Band {
    /// Part of the member's capacity.
    pub part: f64,
    /// But no more CPUs than this.
    pub most: f64,
    /// Once something is outside, the part of the band to settle to, so that
    /// the next small change does not start over.
    pub goal: f64,
}

impl Band {
    /// In CPUs.
    pub fn of(self, capacity: f64) -> f64 {
        (self.part * capacity).min(self.most)
    }
}

/// One level to settle, and what is known of it.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Sets of domains, each on one node.
    pub members: Vec<Vec<usize>>,
    pub band: Band,
    /// Whether the members, all domains, share what they have to owe whatever
    /// that is: one that is as far off as all together is where it should be.
    relative: bool,
    /// By search and member, the time at which nothing was found that relieves
    /// it. Gaps only shrink while they stay on their side, so only an arrival at
    /// the giver or a departure from the taker can change the answer.
    tried: [Vec<Option<u64>>; Search::COUNT],
    /// What all members together owed when that was written down.
    together: f64,
    sides: Vec<Side>,
    outside: Vec<(f64, usize)>,
}

impl Pass {
    /// A level of these members.
    pub fn new(members: Vec<Vec<usize>>) -> Self {
        Pass {
            members,
            ..Pass::default()
        }
    }

    /// A level of the domains of a node.
    pub fn of_node(members: Vec<Vec<usize>>) -> Self {
        Pass {
            relative: true,
            ..Pass::new(members)
        }
    }

    /// Starts over with a new plan.
    pub fn begin(&mut self, band: Band) {
        self.band = band;
        self.forget();
    }

    /// Every search may find something again.
    pub fn forget(&mut self) {
        for tried in &mut self.tried {
            tried.clear();
            tried.resize(self.members.len(), None);
        }
    }

    /// Whether a member is outside the band.
    pub fn is_outside(&mut self, board: &Board) -> bool {
        self.look(board);
        let mut sides = self.sides.iter();
        sides.any(|side| side.fault() > self.band.of(side.capacity) + LEAST)
    }

    /// Sees where the members are.
    fn look(&mut self, board: &Board) {
        self.sides.clear();
        let sides = self.members.iter().map(|domains| board.side(domains));
        self.sides.extend(sides);
        if self.relative {
            let together = self.sides.iter().copied().fold(Side::default(), Side::and);
            if (together.load - self.together).abs() > LEAST {
                // Something crossed nodes, and all targets with it.
                self.together = together.load;
                self.forget();
            }
            for side in &mut self.sides {
                *side = together.target_of(*side);
            }
        }
    }

    /// Once a member is outside the band: moves tasks between the members until
    /// each is well within it or this search finds nothing that helps.
    pub fn settle(&mut self, board: &mut Board, search: Search) {
        if !self.is_outside(board) {
            return;
        }
        while let Some(choice) = self.next(board, search) {
            let wrong = cfg!(debug_assertions).then(|| board.wrong());
            match choice.partner {
                Some(partner) => board.swap(choice.item, partner, Why::Swap),
                None => board.apply(choice.item, choice.to, Why::Load),
            }
            debug_assert!(
                wrong.is_none_or(|wrong| board.wrong() < wrong + LEAST),
                "a step that harms: {choice:?}"
            );
        }
    }

    fn next(&mut self, board: &Board, search: Search) -> Option<Choice> {
        let needed = if search.swap { 2 } else { 1 };
        if board.budget() < needed {
            return None;
        }
        self.look(board);
        self.find_outside();
        let mut outside = std::mem::take(&mut self.outside);
        let worst_first = |&(fault, member): &(f64, usize)| (most(fault), member);
        // Mostly the worst can be relieved, and nobody asks who comes next.
        if let Some(worst) = (0..outside.len()).min_by_key(|&at| worst_first(&outside[at])) {
            outside.swap(0, worst);
        }
        let mut choice = None;
        for at in 0..outside.len() {
            if at == 1 {
                outside[1..].sort_unstable_by_key(worst_first);
            }
            choice = self.relieve(board, outside[at].1, search);
            if choice.is_some() {
                break;
            }
        }
        self.outside = outside;
        choice
    }

    /// The members further off than the goal.
    fn find_outside(&mut self) {
        let Band { goal, .. } = self.band;
        self.outside.clear();
        for (member, side) in self.sides.iter().enumerate() {
            if side.fault() > goal * self.band.of(side.capacity) + LEAST {
                self.outside.push((side.fault(), member));
            }
        }
    }

    /// The best step between this member and one that can help it.
    fn relieve(&mut self, board: &Board, member: usize, search: Search) -> Option<Choice> {
        let side = self.sides[member];
        let gives = side.over() > 0.0;
        let since = self.tried[search.number()][member];
        let enough = NEAR_ENOUGH * side.fault().min(self.largest(board, member, gives));
        let mut best: Option<Choice> = None;
        for partner in self.partners(board, member, gives) {
            let (from, to) = if gives {
                (member, partner)
            } else {
                (partner, member)
            };
            let Some(choice) = self.try_pair(board, from, to, search, since) else {
                continue;
            };
            if choice.gain >= enough {
                return Some(choice);
            }
            if best.is_none_or(|best| choice.gain > best.gain) {
                best = Some(choice);
            }
        }
        if best.is_none() {
            self.tried[search.number()][member] = Some(board.clock);
        }
        best
    }

    /// The largest task that can leave this member, or come to it.
    fn largest(&self, board: &Board, member: usize, gives: bool) -> f64 {
        let largest = |&member: &usize| {
            let domains = self.members[member].iter();
            domains.fold(0.0f64, |largest, &seat| largest.max(board.largest_in(seat)))
        };
        if gives {
            return largest(&member);
        }
        let can_give = |&other: &usize| other != member && self.sides[other].spare() > LEAST;
        let others = (0..self.sides.len()).filter(can_give);
        others.map(|other| largest(&other)).fold(0.0, f64::max)
    }

    /// Members that can take, or give: nearest first, then those that can most.
    fn partners(&self, board: &Board, member: usize, gives: bool) -> impl Iterator<Item = usize> {
        let seat_of = |member: usize| self.members[member].first().copied();
        let can = move |other: usize| match gives {
            true => self.sides[other].room(),
            false => self.sides[other].spare(),
        };
        InOrder::new((0..self.sides.len()).filter_map(move |other| {
            let can = can(other);
            if other == member || can <= LEAST {
                return None;
            }
            let distance = board.distance(seat_of(member)?, seat_of(other)?);
            Some(((distance, most(can)), other))
        }))
    }

    /// The first pair of domains, worst first, that has a step.
    fn try_pair(
        &self,
        board: &Board,
        from: usize,
        to: usize,
        search: Search,
        since: Option<u64>,
    ) -> Option<Choice> {
        let members = Exchange {
            giver: self.sides[from],
            taker: self.sides[to],
        };
        if !self.has_changed(board, from, to, search, since) {
            return None;
        }
        let least_swap = self.least_swap(from, to);
        for giver in self.most_first(board, from, Side::over, Side::spare) {
            for taker in self.most_first(board, to, Side::room, Side::room) {
                if board.budget() == 0 {
                    return None;
                }
                if !board.may_cross(giver, taker) {
                    continue;
                }
                let pair = Pair {
                    from: giver,
                    to: taker,
                    members,
                    domains: Exchange {
                        giver: board.seats[giver].side,
                        taker: board.seats[taker].side,
                    },
                    relative: self.relative,
                };
                let choice = match search.swap {
                    true => board.best_swap(&pair, search, least_swap),
                    false => board.best_move(&pair, search),
                };
                if choice.is_some() {
                    return choice;
                }
            }
        }
        None
    }

    /// A swap costs two moves: it must gain half the tighter band.
    fn least_swap(&self, from: usize, to: usize) -> f64 {
        let band = |member: usize| self.band.of(self.sides[member].capacity);
        0.5 * band(from).min(band(to))
    }

    /// Whether a search between two members can find what it did not find then. A
    /// swap also looks at what came to the taker and left the giver.
    fn has_changed(
        &self,
        board: &Board,
        from: usize,
        to: usize,
        search: Search,
        since: Option<u64>,
    ) -> bool {
        let Some(since) = since else { return true };
        let any = |member: usize, last: fn(&Seat) -> u64| {
            let mut domains = self.members[member].iter();
            domains.any(|&seat| last(&board.seats[seat]) > since)
        };
        any(from, |seat| seat.arrival)
            || any(to, |seat| seat.departure)
            || (search.swap && (any(from, |seat| seat.departure) || any(to, |seat| seat.arrival)))
    }

    /// The domains of a member that have some of `can`, those with most of `by`
    /// first.
    fn most_first(
        &self,
        board: &Board,
        member: usize,
        by: fn(Side) -> f64,
        can: fn(Side) -> f64,
    ) -> impl Iterator<Item = usize> {
        let domains = self.members[member].iter().copied();
        InOrder::new(domains.filter_map(move |seat| {
            // Alone it is as far off as the member is.
            let side = match self.relative {
                true => self.sides[member],
                false => board.seats[seat].side,
            };
            (can(side) > LEAST).then(|| (most(by(side)), seat))
        }))
    }
}

/// Orders CPUs, the most first.
fn most(cpus: f64) -> Reverse<OrderedFloat<f64>> {
    Reverse(OrderedFloat(cpus))
}

/// Numbers by ascending key. Mostly the first is all that is asked for, so the
/// others are put in order only for the second.
struct InOrder<K: Ord, I> {
    all: I,
    first: Option<(K, usize)>,
    others: Option<BinaryHeap<Reverse<(K, usize)>>>,
}

impl<K: Ord + Copy, I: Iterator<Item = (K, usize)> + Clone> InOrder<K, I> {
    fn new(all: I) -> Self {
        InOrder {
            all,
            first: None,
            others: None,
        }
    }
}

impl<K: Ord + Copy, I: Iterator<Item = (K, usize)> + Clone> Iterator for InOrder<K, I> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let Some(first) = self.first else {
            self.first = self.all.clone().min();
            return self.first.map(|(_, number)| number);
        };
        let others = self.others.get_or_insert_with(|| {
            let others = self.all.clone().filter(|other| *other > first);
            others.map(Reverse).collect()
        });
        others.pop().map(|Reverse((_, number))| number)
    }
}
