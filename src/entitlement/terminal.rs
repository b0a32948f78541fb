// SPDX-License-Identifier: GPL-2.0-only
//! Children of a group as a network sees them: together where they are at one node.
//! Never decides a level.

use super::payout::Payout;
use super::tree::Tree;

/// A run of children of one group.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    pub node: u32,
    /// The number of the run, and of its list in the ladder.
    pub run: usize,
    pub list: usize,
    /// What they could use, in units.
    pub demand: u64,
    /// The level that was tried last, and what they get at that, in units.
    pub level: f64,
    pub amount: u64,
}

/// Gives terminals all they could use. Returns the level that does.
pub(super) fn satisfy(terminals: &mut [Terminal]) -> f64 {
    for terminal in terminals {
        terminal.level = f64::INFINITY;
        terminal.amount = terminal.demand;
    }
    f64::INFINITY
}

/// What terminals could use together, in units.
pub(super) fn demand(terminals: &[Terminal]) -> u64 {
    terminals
        .iter()
        .fold(0u64, |sum, terminal| sum.saturating_add(terminal.demand))
}

/// Lists the runs of a group that is `MIXED`.
pub(super) fn list_terminals(tree: &Tree, payout: &Payout, group: usize, list: &mut Vec<Terminal>) {
    list.clear();
    list.extend(tree.runs_of(group).map(|run| Terminal {
        node: payout.node_of(tree, run),
        run,
        list: 0,
        demand: tree.runs[run].demand,
        level: 0.0,
        amount: 0,
    }));
}
