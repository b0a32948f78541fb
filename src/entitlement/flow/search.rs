// SPDX-License-Identifier: GPL-2.0-only
//! Searches in a network: for ways to drains, and for what flows there.
//! Never changes supplies, drains or regions.

use super::{Network, bit};

impl Network {
    /// Makes the flow a maximum flow among the nodes of a region, as bits. Nobody else
    /// has supply left than `sources`, each once. Returns the supply that finds no
    /// way.
    pub fn run(&mut self, region: &[u64], sources: impl Iterator<Item = u32>) -> u64 {
        self.all.clear();
        self.all.extend_from_slice(region);
        self.queue.clear();
        let supply_left = &self.supply_left;
        self.queue
            .extend(sources.filter(|&node| supply_left[node as usize] > 0));
        self.sources = self.queue.len();
        while self.measure() {
            // Those that have supply left are the first in the queue.
            for at in 0..self.sources {
                self.push_from(self.queue[at]);
            }
        }
        let left = self.queue[..self.sources].iter();
        let left = left.map(|&node| self.supply_left[node as usize]);
        left.fold(0, u64::saturating_add)
    }

    /// Has this much less flow from a node to wherever it leaves. Arcs lead from
    /// groups to what is in them and on to CPUs, so nothing flows in circles.
    pub(super) fn withdraw(&mut self, source: u32, amount: u64) {
        let mut left = amount;
        self.path.clear();
        let mut node = source;
        while left > 0 {
            let at = node as usize;
            let leaving = self.drain[at] - self.drain_left[at];
            if leaving == 0 {
                let Some(arc) = self.carrying(node) else {
                    return;
                };
                self.path.push((arc, node));
                node = self.arcs[arc as usize].to;
                continue;
            }
            let flow =
                |&(arc, _): &(u32, u32)| self.arcs[self.arcs[arc as usize].twin as usize].left;
            let amount = self.path.iter().map(flow).fold(left.min(leaving), u64::min);
            self.drain_left[at] += amount;
            for step in 0..self.path.len() {
                let (arc, _) = self.path[step];
                self.carry(self.arcs[arc as usize].twin, amount);
            }
            left -= amount;
            self.path.clear();
            node = source;
        }
    }

    /// An arc in which something flows from a node, inside its region.
    fn carrying(&self, node: u32) -> Option<u32> {
        let from = node as usize;
        let mut arcs = self.start[from]..self.start[from + 1];
        arcs.find(|&at| {
            let arc = &self.arcs[at as usize];
            arc.left < self.capacity[at as usize] && self.region(arc.to) == self.region(node)
        })
    }

    /// Measures distances. Returns whether supply that is left gets anywhere.
    fn measure(&mut self) -> bool {
        self.layers.clear();
        self.fresh.clone_from(&self.all);
        let before = std::mem::take(&mut self.sources);
        for at in 0..before {
            let node = self.queue[at];
            if self.supply_left[node as usize] > 0 {
                let (word, bit) = bit(node);
                self.fresh[word] &= !bit;
                self.reset(node, 0);
                self.queue[self.sources] = node;
                self.sources += 1;
            }
        }
        self.queue.truncate(self.sources);
        let (mut layer, mut distance) = (0..self.sources, 0);
        while !layer.is_empty() {
            let mut reached = self.queue[layer.clone()].iter();
            if reached.any(|&node| self.drain_left[node as usize] > 0) {
                // Nodes farther than the nearest drain are of no use now.
                return true;
            }
            distance += 1;
            for at in layer.clone() {
                self.reach_from(self.queue[at], distance);
            }
            layer = layer.end..self.queue.len();
        }
        false
    }

    /// Gets to all that one arc leads to from a node, at this distance.
    fn reach_from(&mut self, node: u32, distance: u32) {
        let (from, words) = (node as usize, self.fresh.len());
        let begin = words * (distance as usize - 1);
        self.layers.resize(begin + words, 0);
        for at in self.block_start[from]..self.block_start[from + 1] {
            let block = &self.blocks[at as usize];
            let word = block.word as usize;
            let mut new = block.open & self.fresh[word];
            self.fresh[word] &= !new;
            self.layers[begin + word] |= new;
            while new != 0 {
                let node = 64 * word as u32 + new.trailing_zeros();
                self.reset(node, distance);
                self.queue.push(node);
                new &= new - 1;
            }
        }
    }

    fn reset(&mut self, node: u32, distance: u32) {
        self.distance[node as usize] = distance;
        self.next[node as usize] = self.block_start[node as usize];
    }

    /// Pushes supply of a node along shortest paths until none is left or
    /// there are no more.
    fn push_from(&mut self, source: u32) {
        self.path.clear();
        let mut node = source;
        loop {
            if self.drain_left[node as usize] > 0 {
                node = self.push(source, node);
                if self.supply_left[source as usize] == 0 {
                    return;
                }
            } else if let Some((arc, to)) = self.forward(node) {
                self.path.push((arc, node));
                node = to;
            } else {
                let Some((_, tail)) = self.path.pop() else {
                    return;
                };
                // No other way need try the dead end.
                let begin = self.fresh.len() * (self.distance[node as usize] as usize - 1);
                let (word, bit) = bit(node);
                self.layers[begin + word] &= !bit;
                node = tail;
            }
        }
    }

    /// The next arc that leads from a node one step farther from the sources, and
    /// where to: arcs lie far apart in memory, and fetching them would take longest.
    fn forward(&mut self, node: u32) -> Option<(u32, u32)> {
        let (from, words) = (node as usize, self.fresh.len());
        let begin = words * self.distance[from] as usize;
        let farther = self.layers.get(begin..begin + words)?;
        let end = self.block_start[from + 1];
        for at in self.next[from]..end {
            let block = &self.blocks[at as usize];
            let leads = block.open & farther[block.word as usize];
            if leads != 0 {
                self.next[from] = at;
                let before = block.all & (leads & leads.wrapping_neg()).wrapping_sub(1);
                let to = 64 * block.word + leads.trailing_zeros();
                return Some((block.first + before.count_ones(), to));
            }
        }
        self.next[from] = end;
        None
    }

    /// Pushes what it can along the path into the drain of its last node.
    /// Leaves the path up to where it is full and returns its last node.
    fn push(&mut self, source: u32, last: u32) -> u32 {
        let room = self
            .path
            .iter()
            .map(|&(arc, _)| self.arcs[arc as usize].left)
            .min();
        let amount = self.supply_left[source as usize]
            .min(self.drain_left[last as usize])
            .min(room.unwrap_or(u64::MAX));
        self.supply_left[source as usize] -= amount;
        self.drain_left[last as usize] -= amount;
        let mut full = None;
        for step in 0..self.path.len() {
            let (arc, _) = self.path[step];
            self.carry(arc, amount);
            if full.is_none() && self.arcs[arc as usize].left == 0 {
                full = Some(step);
            }
        }
        let Some(full) = full else { return last };
        let (_, tail) = self.path[full];
        self.path.truncate(full);
        tail
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// More than two blocks.
    const NODES: usize = 132;

    /// Nodes that are apart, so that the arcs of one are in several blocks.
    fn spread(node: u32) -> u32 {
        11 * node
    }

    /// Three layers, as groups, masks and CPUs are.
    fn arcs() -> impl Strategy<Value = Vec<(u32, u32, u64)>> {
        let first = (0..4u32, 4..8u32, 0..20u64);
        let second = (4..8u32, 8..12u32, prop_oneof![Just(1000u64), 0..20u64]);
        prop::collection::vec(prop_oneof![first, second], 0..40)
    }

    proptest! {
        #![proptest_config(crate::seeds::config("entitlement::flow"))]

        #[test]
        fn a_flow_repaired_is_as_large_as_a_flow_found_anew(
            mut arcs in arcs(), drains in prop::collection::vec(0..40u64, 4),
            steps in prop::collection::vec(prop::collection::vec(0..20u64, 8), 1..4),
        ) {
            arcs.sort_by_key(|&(from, to, _)| (from, to));
            arcs.dedup_by_key(|&mut (from, to, _)| (from, to));
            let fresh = || {
                let mut network = Network::default();
                network.clear(NODES);
                for &(from, to, capacity) in &arcs {
                    network.add(spread(from), spread(to), capacity);
                }
                network.connect();
                network.unite();
                for (node, &drain) in (8..).zip(&drains) {
                    network.set_drain(spread(node) as usize, drain);
                }
                network
            };
            let nodes: Vec<u32> = (0..12).map(spread).collect();
            let mut region = vec![0; NODES.div_ceil(64)];
            for &node in &nodes {
                region[node as usize / 64] |= 1 << (node % 64);
            }
            let sources = || nodes.iter().copied();
            let mut kept = fresh();
            for supplies in steps {
                let mut anew = fresh();
                for network in [&mut kept, &mut anew] {
                    for (node, &supply) in (0..).zip(&supplies) {
                        network.set_supply(spread(node), supply);
                    }
                }
                let left = kept.run(&region, sources());
                prop_assert_eq!(left, anew.run(&region, sources()));
                // What the smallest cut lets through is what did not get through.
                let short = |node: u32| kept.is_short(spread(node));
                let full = arcs.iter().filter(|arc| short(arc.0) && !short(arc.1));
                let through: u64 = full.map(|arc| arc.2).sum();
                let drained = (8..).zip(&drains).filter(|(node, _)| short(*node));
                let drained: u64 = drained.map(|(_, drain)| drain).sum();
                let enters = (0..).zip(&supplies).filter(|(node, _)| short(*node));
                let enters: u64 = enters.map(|(_, supply)| supply).sum();
                prop_assert_eq!(enters - left, through + drained);
                for &node in &nodes {
                    prop_assert_eq!(kept.is_short(node), anew.is_short(node));
                }
            }
        }
    }
}
