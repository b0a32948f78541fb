// SPDX-License-Identifier: GPL-2.0-only
//! Settling the members of one level against their capacities.
//! Never knows which level it is: a member is a set of domains.

use std::collections::HashMap;

use super::board::Board;
use super::choose::{Choice, Gaps, Pair, Reach};

/// The nearest partner is taken if it gains this part of what the best could:
/// distance is worth that much. Otherwise all are compared.
const NEAR_ENOUGH: f64 = 0.5;

/// A part of the machine to settle: a node, or a domain alone.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Indices of the board's seats, all on one node.
    pub domains: Vec<usize>,
}

/// How far off a member may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Band {
    /// Part of the member's capacity.
    pub part: f64,
    /// But no more CPUs than this.
    pub most: f64,
}

impl Band {
    /// In CPUs.
    pub fn of(self, capacity: f64) -> f64 {
        // Infinite part of no capacity: the cap alone.
        if self.part.is_infinite() {
            self.most
        } else {
            (self.part * capacity).min(self.most)
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Move,
    Swap,
}

/// Moves tasks between members until each is within the band or nothing
/// allowed helps. Tries what asks least first: moves, then swaps, that leave
/// memory where it is preferred; then the same without that condition.
pub(super) fn settle(board: &mut Board, members: &[Member], band: Band) {
    let mut search = Search {
        members,
        band,
        failed: HashMap::new(),
    };
    while let Some(choice) = search.next(board) {
        let wrong = board.wrong();
        match choice.partner {
            Some(partner) => board.swap(choice.item, partner),
            None => board.apply(choice.item, choice.to, None),
        }
        debug_assert!(
            board.wrong() < wrong,
            "a step that does not help: {choice:?}"
        );
    }
}

struct Search<'a> {
    members: &'a [Member],
    band: Band,
    /// Searches that found nothing, with the state they would find again. Gaps
    /// of members only shrink while they stay on their side, so only an arrival
    /// at the giver or a departure from the taker can change the answer.
    failed: HashMap<(Kind, Reach, usize, usize), (u64, u64)>,
}

impl Search<'_> {
    fn next(&mut self, board: &Board) -> Option<Choice> {
        let outside = board.outside(self.members, self.band);
        if outside.is_empty() || board.budget() == 0 {
            return None;
        }
        let gaps: Vec<f64> = self
            .members
            .iter()
            .map(|member| board.gap(member))
            .collect();
        let reaches: &[Reach] = if board.config.mempolicy_affinity {
            &[Reach::Gentle, Reach::Any]
        } else {
            &[Reach::Any]
        };
        for &reach in reaches {
            for kind in [Kind::Move, Kind::Swap] {
                if kind == Kind::Swap && board.budget() < 2 {
                    continue;
                }
                for &member in &outside {
                    let choice = self.relieve(board, &gaps, member, kind, reach);
                    if choice.is_some() {
                        return choice;
                    }
                }
            }
        }
        None
    }

    /// The best step between this member and one on the other side.
    fn relieve(
        &mut self,
        board: &Board,
        gaps: &[f64],
        member: usize,
        kind: Kind,
        reach: Reach,
    ) -> Option<Choice> {
        let enough = NEAR_ENOUGH * gaps[member].abs().min(board.largest);
        let mut best: Option<Choice> = None;
        for partner in self.partners(board, gaps, member) {
            let (from, to) = if gaps[member] > 0.0 {
                (member, partner)
            } else {
                (partner, member)
            };
            let Some(choice) = self.try_pair(board, gaps, from, to, kind, reach) else {
                continue;
            };
            if choice.gain >= enough {
                return Some(choice);
            }
            if best.is_none_or(|best| choice.gain > best.gain) {
                best = Some(choice);
            }
        }
        best
    }

    /// Members on the other side of their capacity: nearest first, then those
    /// furthest off.
    fn partners(&self, board: &Board, gaps: &[f64], member: usize) -> Vec<usize> {
        let seat_of = |member: usize| self.members[member].domains.first().copied();
        let Some(seat) = seat_of(member) else {
            return Vec::new();
        };
        let mut partners: Vec<(u32, f64, usize)> = (0..gaps.len())
            .filter(|&other| gaps[other] * gaps[member] < 0.0)
            .filter_map(|other| {
                Some((
                    board.distance(seat, seat_of(other)?),
                    gaps[other].abs(),
                    other,
                ))
            })
            .collect();
        partners.sort_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)).then(a.2.cmp(&b.2)));
        partners.into_iter().map(|(_, _, other)| other).collect()
    }

    /// The first pair of domains, worst first, that has a step.
    fn try_pair(
        &mut self,
        board: &Board,
        gaps: &[f64],
        from: usize,
        to: usize,
        kind: Kind,
        reach: Reach,
    ) -> Option<Choice> {
        let members = Gaps {
            over: gaps[from],
            under: -gaps[to],
        };
        let state = self.state(board, from, to, kind);
        for giver in self.worst_first(board, from, 1.0) {
            for taker in self.worst_first(board, to, -1.0) {
                let key = (kind, reach, giver, taker);
                if self.failed.get(&key) == Some(&state) {
                    continue;
                }
                let domains = Gaps {
                    over: board.seats[giver].gap(),
                    under: -board.seats[taker].gap(),
                };
                let pair = Pair {
                    from: giver,
                    to: taker,
                    members,
                    domains,
                };
                let choice = match kind {
                    Kind::Move => board.best_move(&pair, reach),
                    Kind::Swap => board.best_swap(&pair, reach, self.least_swap(board, from, to)),
                };
                if choice.is_some() {
                    return choice;
                }
                self.failed.insert(key, state);
            }
        }
        None
    }

    /// A swap costs two moves: it must gain half the tighter band.
    fn least_swap(&self, board: &Board, from: usize, to: usize) -> f64 {
        let band = |member: usize| {
            let domains = &self.members[member].domains;
            self.band
                .of(domains.iter().map(|&seat| board.seats[seat].capacity).sum())
        };
        0.5 * band(from).min(band(to))
    }

    /// The domains of a member on one side (sign 1: above capacity).
    fn worst_first(&self, board: &Board, member: usize, sign: f64) -> Vec<usize> {
        let gap = |seat: usize| sign * board.seats[seat].gap();
        let mut seats: Vec<usize> = self.members[member]
            .domains
            .iter()
            .copied()
            .filter(|&seat| gap(seat) > 0.0)
            .collect();
        seats.sort_by(|&a, &b| gap(b).total_cmp(&gap(a)).then(a.cmp(&b)));
        seats
    }

    /// See `failed`. A swap also looks at what came to the taker and left the giver.
    fn state(&self, board: &Board, from: usize, to: usize, kind: Kind) -> (u64, u64) {
        let sum = |member: usize, count: fn(&super::board::Seat) -> u64| {
            self.members[member]
                .domains
                .iter()
                .map(|&seat| count(&board.seats[seat]))
                .sum()
        };
        match kind {
            Kind::Move => (
                sum(from, |seat| seat.arrivals),
                sum(to, |seat| seat.departures),
            ),
            Kind::Swap => (
                sum(from, |seat| seat.arrivals + seat.departures),
                sum(to, |seat| seat.arrivals + seat.departures),
            ),
        }
    }
}
