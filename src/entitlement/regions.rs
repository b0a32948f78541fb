// SPDX-License-Identifier: GPL-2.0-only
//! Which nodes of a network belong together, as sets of bits.
//! Never knows what flows.

use std::ops::Range;

/// Disjoint sets of nodes, by number.
#[derive(Debug, Default)]
pub(super) struct Regions {
    nodes: usize,
    /// u64 words of each set, and the words of one set after the other.
    words: usize,
    bits: Vec<u64>,
    /// The nodes at which something may leave.
    drains: Vec<u64>,
}

impl Regions {
    /// One region of so many nodes. Where something may leave, and how much.
    pub fn unite(&mut self, nodes: usize, drains: impl Iterator<Item = (usize, u64)>) {
        self.nodes = nodes;
        self.words = nodes.div_ceil(64);
        for bits in [&mut self.bits, &mut self.drains] {
            bits.clear();
            bits.resize(self.words, 0);
        }
        for node in 0..nodes {
            self.bits[node / 64] |= 1 << (node % 64);
        }
        for (node, amount) in drains {
            self.drains[node / 64] |= u64::from(amount > 0) << (node % 64);
        }
    }

    /// Number of nodes in all regions, those that were taken out included.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// The nodes of a region.
    pub fn of(&self, region: u32) -> &[u64] {
        &self.bits[self.range(region)]
    }

    fn range(&self, region: u32) -> Range<usize> {
        let start = region as usize * self.words;
        start..start + self.words
    }

    /// Whether something may leave at a node of a region.
    pub fn has_drains(&self, region: u32) -> bool {
        let mut words = self.of(region).iter().zip(&self.drains);
        words.any(|(region, drains)| region & drains != 0)
    }

    /// Moves a node from one region to another.
    pub fn transfer(&mut self, node: u32, from: u32, to: u32) {
        self.retire(from, node);
        let start = self.range(to).start;
        self.bits[start + node as usize / 64] |= 1 << (node % 64);
    }

    /// Takes a node out of its region.
    pub fn retire(&mut self, region: u32, node: u32) {
        let start = self.range(region).start;
        self.bits[start + node as usize / 64] &= !(1 << (node % 64));
    }

    /// Makes another region, of which the number is returned, of the nodes of one
    /// that are not in `staying`.
    pub fn split(&mut self, region: u32, staying: &[u64]) -> u32 {
        let number = self.bits.len() / self.words;
        for (at, staying) in self.range(region).zip(staying) {
            let all = self.bits[at];
            self.bits[at] = all & staying;
            self.bits.push(all & !staying);
        }
        number as u32
    }
}
