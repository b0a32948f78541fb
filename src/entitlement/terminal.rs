// SPDX-License-Identifier: GPL-2.0-only
//! Children of a group as a network sees them: together where they are at one node.
//! Never decides a level.

use std::ops::Range;

use super::payout::Payout;
use super::tree::{Kind, MIXED, Tree};

/// Children of one group that are at the same node: all of one mask class, or
/// one group.
#[derive(Clone, Debug)]
pub(super) struct Terminal {
    pub node: u32,
    pub children: Range<usize>,
    /// The number of their list in the ladder.
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

/// Lists the children of a group that is `MIXED` by node.
pub(super) fn list_terminals(tree: &Tree, payout: &Payout, group: usize, list: &mut Vec<Terminal>) {
    list.clear();
    let mut start = tree.children_of(group).start;
    for run in tree.runs_of(group) {
        let children = start..start + run.len as usize;
        start = children.end;
        let node = match tree.kind(&tree.children[children.start]) {
            Kind::Group(group) if run.class == MIXED => payout.node[group],
            _ => run.class,
        };
        list.push(Terminal {
            node,
            children,
            list: 0,
            demand: run.demand,
            level: 0.0,
            amount: 0,
        });
    }
}
