// SPDX-License-Identifier: GPL-2.0-only
//! Settling the members of one level against their capacities.
//! Never knows which level it is: a member is a set of domains.

use std::cmp::Reverse;
use std::collections::HashMap;

use ordered_float::OrderedFloat;

use super::board::{Board, Seat};
use super::choose::{Choice, Gaps, Pair, Search};

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
    /// Once something is outside, the part of the band to settle to, so that
    /// the next small change does not start over.
    pub goal: f64,
}

impl Band {
    /// In CPUs.
    pub fn of(self, capacity: f64) -> f64 {
        (self.part * capacity).min(self.most)
    }

    /// The band to settle to.
    fn inner(self) -> Band {
        Band {
            part: self.goal * self.part,
            most: self.goal * self.most,
            goal: 1.0,
        }
    }
}

/// One level to settle, and what is known of it.
pub(super) struct Pass {
    pub members: Vec<Member>,
    pub band: Band,
    /// Searches that found nothing, with the state they would find again. Gaps
    /// only shrink while they stay on their side, so only an arrival at the
    /// giver or a departure from the taker can change the answer.
    failed: HashMap<(Search, usize, usize), (u64, u64)>,
}

/// Moves tasks between the members of a pass until each is within the band or
/// this search finds nothing that helps.
pub(super) fn settle(board: &mut Board, pass: &mut Pass, search: Search) {
    while let Some(choice) = pass.next(board, search) {
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

impl Pass {
    pub fn new(members: Vec<Member>, band: Band) -> Self {
        Pass {
            members,
            band,
            failed: HashMap::new(),
        }
    }

    fn next(&mut self, board: &Board, search: Search) -> Option<Choice> {
        let needed = if search.swap { 2 } else { 1 };
        if board.budget() < needed {
            return None;
        }
        let outside = board.outside(&self.members, self.band.inner());
        let gaps: Vec<f64> = self
            .members
            .iter()
            .map(|member| board.gap(member))
            .collect();
        outside
            .into_iter()
            .find_map(|member| self.relieve(board, &gaps, member, search))
    }

    /// The best step between this member and one on the other side.
    fn relieve(
        &mut self,
        board: &Board,
        gaps: &[f64],
        member: usize,
        search: Search,
    ) -> Option<Choice> {
        let enough = NEAR_ENOUGH * gaps[member].abs().min(board.largest);
        let mut best: Option<Choice> = None;
        for partner in self.partners(board, gaps, member) {
            let (from, to) = if gaps[member] > 0.0 {
                (member, partner)
            } else {
                (partner, member)
            };
            let Some(choice) = self.try_pair(board, gaps, from, to, search) else {
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
        partners
            .sort_by_key(|&(distance, gap, other)| (distance, Reverse(OrderedFloat(gap)), other));
        partners.into_iter().map(|(_, _, other)| other).collect()
    }

    /// The first pair of domains, worst first, that has a step.
    fn try_pair(
        &mut self,
        board: &Board,
        gaps: &[f64],
        from: usize,
        to: usize,
        search: Search,
    ) -> Option<Choice> {
        let members = Gaps {
            over: gaps[from],
            under: -gaps[to],
        };
        let state = self.state(board, from, to, search.swap);
        for giver in self.worst_first(board, from, 1.0) {
            for taker in self.worst_first(board, to, -1.0) {
                let key = (search, giver, taker);
                if board.budget() == 0 {
                    return None;
                }
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
                let choice = if search.swap {
                    board.best_swap(&pair, search, self.least_swap(board, from, to))
                } else {
                    board.best_move(&pair, search)
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
        seats.sort_by_key(|&seat| (Reverse(OrderedFloat(gap(seat))), seat));
        seats
    }

    /// See `failed`. A swap also looks at what came to the taker and left the giver.
    fn state(&self, board: &Board, from: usize, to: usize, swap: bool) -> (u64, u64) {
        let sum = |member: usize, count: fn(&Seat) -> u64| {
            self.members[member]
                .domains
                .iter()
                .map(|&seat| count(&board.seats[seat]))
                .sum()
        };
        if swap {
            let both = |seat: &Seat| seat.arrivals + seat.departures;
            (sum(from, both), sum(to, both))
        } else {
            (
                sum(from, |seat| seat.arrivals),
                sum(to, |seat| seat.departures),
            )
        }
    }
}
