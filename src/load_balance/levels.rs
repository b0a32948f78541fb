// SPDX-License-Identifier: GPL-2.0-only
//! The levels that are settled, one after the other until none finds a step.
//! Never moves a task itself.

use super::board::{Board, LEAST};
use super::choose::Search;
use super::machine::Machine;
use super::settle::{Band, Pass};
use super::side::Side;

/// Of a band, the part that members are settled to, so that the next small
/// change does not start over; and the part up to which moves are taken back
/// that are not needed.
const GOAL: f64 = 0.5;
const GOOD_ENOUGH: f64 = 0.75;

/// Fresh looks after settling, at most: one finds nothing, as a rule.
const MOST_LOOKS: usize = 8;

/// Nodes, the domains of each node, and all domains for what these leave. Kept
/// while the machine has the same shape.
#[derive(Debug, Default)]
pub(super) struct Levels {
    /// The node of each domain: what the passes were made for.
    shape: Vec<usize>,
    passes: Vec<Pass>,
}

impl Levels {
    /// Gets ready to settle a board.
    pub fn begin(&mut self, board: &Board) {
        let machine = &board.machine;
        let shape = || (0..board.seats.len()).map(|seat| machine.node(seat));
        if !self.shape.iter().copied().eq(shape()) {
            self.shape.clear();
            self.shape.extend(shape());
            self.passes = passes(machine, &self.shape);
        }
        let band = |part| Band {
            part,
            most: board.largest,
            goal: GOAL,
        };
        let local = band(board.config.band);
        let remote = band(board.config.remote_band);
        let several = machine.nodes() > 1;
        let last = self.passes.len().saturating_sub(1);
        for (place, pass) in self.passes.iter_mut().enumerate() {
            pass.begin(match place {
                0 if several => remote,
                // Balanced nodes can leave domains off that only a remote one
                // can relieve. Where somebody is short that is worth crossing
                // only for more than a task: less is noise, and would cross back.
                _ if several && place == last => match board.is_limited() {
                    true => Band {
                        part: f64::MAX,
                        goal: 1.0,
                        ..remote
                    },
                    false => remote,
                },
                _ => local,
            });
        }
    }

    /// Whether nothing is further off than its band.
    pub fn are_settled(&mut self, board: &Board) -> bool {
        !self.passes.iter_mut().any(|pass| pass.is_outside(board))
    }

    /// Settles, and takes back what turned out not to be needed. That can make
    /// way for other steps, and so can a step on another level for a search that
    /// had found nothing. The last word is that of a fresh look that finds
    /// nothing: then a plan on the outcome finds nothing either.
    pub fn balance(&mut self, board: &mut Board) {
        self.settle(board);
        self.prune(board);
        for _ in 0..MOST_LOOKS {
            let steps = board.steps.len();
            for pass in &mut self.passes {
                pass.forget();
            }
            self.settle(board);
            if board.steps.len() == steps {
                return;
            }
        }
    }

    /// Settles level by level, with searches that ask ever more, until no level
    /// finds a step.
    fn settle(&mut self, board: &mut Board) {
        let searches = Search::all(board.config.mempolicy_affinity);
        let mut next = 0;
        while let Some(&search) = searches.get(next) {
            let steps_before = board.steps.len();
            for pass in &mut self.passes {
                pass.settle(board, search);
            }
            // A step can make way for what asks less: start over.
            next = match board.steps.len() > steps_before {
                true => 0,
                false => next + 1,
            };
        }
    }

    /// Takes back the moves that turn out not to be needed, smallest first: what
    /// many small steps have done, a later one may have done again.
    fn prune(&self, board: &mut Board) {
        let mut moved: Vec<u32> = board.steps.iter().map(|step| step.item).collect();
        moved.sort_unstable_by(|&a, &b| board.share(a).total_cmp(&board.share(b)).then(a.cmp(&b)));
        moved.dedup();
        for item in moved {
            let moved = board.item(item);
            let (Some(at), Some(origin)) = (moved.place, moved.origin) else {
                continue;
            };
            if at == origin || !super::evacuate::suits(board, &moved, origin) {
                continue;
            }
            let before = self.faults(board, at, origin, 0.0);
            let after = self.faults(board, at, origin, moved.share);
            let mut pairs = after.iter().zip(&before);
            if pairs.all(|(after, before)| *after <= before + LEAST) {
                board.put(item, origin);
            }
        }
    }

    /// Whether no domain or node gets further off than good enough if `share` CPUs go
    /// from one domain to the other.
    pub fn leaves_even(&self, board: &Board, from: usize, to: usize, share: f64) -> bool {
        let is_kept =
            |before: &[f64], after: &[f64]| before.iter().zip(after).all(|(b, a)| *a <= b + LEAST);
        let crosses = board.machine.node(from) != board.machine.node(to);
        // Inside a node that is off as a whole, domains share that.
        let local = &self.passes[usize::from(board.machine.nodes() > 1)];
        let in_node = |seat: usize, change: f64| {
            let node = board.node_side(seat);
            let node = node.plus(if crosses { change } else { 0.0 });
            let side = node.target_of(board.seats[seat].side.plus(change));
            (side.fault() - GOOD_ENOUGH * local.band.of(side.capacity)).max(0.0)
        };
        is_kept(
            &self.faults(board, from, to, 0.0),
            &self.faults(board, from, to, share),
        ) && is_kept(
            &[in_node(from, 0.0), in_node(to, 0.0)],
            &[in_node(from, -share), in_node(to, share)],
        )
    }

    /// How much further off than good enough two domains and their nodes are if
    /// `share` CPUs go from the one to the other.
    fn faults(&self, board: &Board, a: usize, b: usize, share: f64) -> [f64; 4] {
        let fault = |pass: &Pass, side: Side| {
            (side.fault() - GOOD_ENOUGH * pass.band.of(side.capacity)).max(0.0)
        };
        let several = board.machine.nodes() > 1;
        let crosses = several && board.machine.node(a) != board.machine.node(b);
        let node = |seat: usize, change: f64| match crosses {
            true => {
                let domains = &self.passes[0].members[board.machine.node(seat)];
                fault(&self.passes[0], board.side(domains).plus(change))
            }
            false => 0.0,
        };
        // The pass of the first node's domains has the band of all of them.
        let local = &self.passes[usize::from(several)];
        let domain = |seat: usize, change: f64| fault(local, board.seats[seat].side.plus(change));
        [
            domain(a, -share),
            domain(b, share),
            node(a, -share),
            node(b, share),
        ]
    }
}

/// Nodes, the domains of each node, and all domains.
fn passes(machine: &Machine, shape: &[usize]) -> Vec<Pass> {
    let of_node = |node| -> Vec<usize> {
        let domains = 0..shape.len();
        domains.filter(|&domain| shape[domain] == node).collect()
    };
    let nodes: Vec<Vec<usize>> = (0..machine.nodes()).map(of_node).collect();
    let singles = |domains: &[usize]| domains.iter().map(|&domain| vec![domain]).collect();
    let inside = nodes.iter().map(|domains| Pass::of_node(singles(domains)));
    let mut passes: Vec<Pass> = inside.collect();
    if nodes.len() > 1 {
        let all: Vec<usize> = (0..shape.len()).collect();
        passes.push(Pass::new(singles(&all)));
        passes.insert(0, Pass::new(nodes));
    }
    passes
}
