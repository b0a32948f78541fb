// SPDX-License-Identifier: GPL-2.0-only
//! Searches in a network: for ways to drains, and for what flows there.
//! Never changes supplies, drains or regions.

use super::{Arc, Network, Spot, UNREACHED};

/// How far a search goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scope {
    /// From nodes that hand on, over arcs forth only: what others hand to them
    /// stays where it is.
    #[default]
    Near,
    /// Over all arcs.
    All,
}

impl Network {
    /// Makes the flow a maximum flow among these nodes, all those of one region.
    /// Returns the supply that finds no way.
    ///
    /// There are many arcs from groups to what is in them and few to CPUs, and
    /// most supply finds a way by displacing others on the CPUs alone. So only
    /// what does not is worth a look at all arcs.
    pub fn run(&mut self, nodes: &[u32]) -> u64 {
        let left = self.run_in(Scope::Near, nodes);
        match left > 0 && self.left_out {
            true => self.run_in(Scope::All, nodes),
            false => left,
        }
    }

    fn run_in(&mut self, scope: Scope, nodes: &[u32]) -> u64 {
        self.scope = scope;
        while self.measure(nodes) {
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
                self.path.push(arc);
                node = self.arcs[arc as usize].to;
                continue;
            }
            let flow = |&arc: &u32| self.arcs[self.arcs[arc as usize].twin as usize].left;
            let amount = self.path.iter().map(flow).fold(left.min(leaving), u64::min);
            self.drain_left[at] += amount;
            for &arc in &self.path {
                let twin = self.arcs[arc as usize].twin;
                self.arcs[arc as usize].left += amount;
                self.arcs[twin as usize].left -= amount;
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
    fn measure(&mut self, nodes: &[u32]) -> bool {
        self.queue.clear();
        let Some(&first) = nodes.first() else {
            self.sources = 0;
            return false;
        };
        let region = self.region(first);
        for &node in nodes {
            let at = node as usize;
            self.spots[at].distance = UNREACHED;
            if self.supply_left[at] > 0 {
                self.spots[at].distance = 0;
                self.next[at] = self.start[at];
                self.queue.push(node);
            }
        }
        self.sources = self.queue.len();
        self.left_out = false;
        // Nodes farther than the nearest drain are of no use in this round.
        let mut nearest_drain = UNREACHED;
        let mut at = 0;
        while let Some(&node) = self.queue.get(at) {
            at += 1;
            let from = node as usize;
            let distance = self.spots[from].distance;
            if distance >= nearest_drain {
                break;
            }
            if self.drain_left[from] > 0 {
                nearest_drain = distance;
            }
            if self.queue.len() == nodes.len() {
                // Nobody is left to be reached.
                continue;
            }
            let new = Spot {
                region,
                distance: UNREACHED,
            };
            let end = self.end(from);
            self.left_out |= end < self.end[from];
            for arc in &self.arcs[self.start[from] as usize..end as usize] {
                let spot = &mut self.spots[arc.to as usize];
                if arc.left > 0 && *spot == new {
                    spot.distance = distance + 1;
                    self.next[arc.to as usize] = self.start[arc.to as usize];
                    self.queue.push(arc.to);
                }
            }
        }
        nearest_drain != UNREACHED
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
            } else if let Some(arc) = self.forward(node) {
                self.path.push(arc);
                node = self.arcs[arc as usize].to;
            } else {
                let Some(arc) = self.path.pop() else { return };
                // No other way need try the dead end.
                self.spots[node as usize].distance = UNREACHED;
                node = self.tail(arc);
                self.next[node as usize] += 1;
            }
        }
    }

    /// The next arc that leads from a node one step farther from the sources.
    fn forward(&mut self, node: u32) -> Option<u32> {
        let from = node as usize;
        let Spot { region, distance } = self.spots[from];
        let farther = Spot {
            region,
            distance: distance + 1,
        };
        let (next, end) = (self.next[from], self.end(from));
        let arcs = &self.arcs[next as usize..end as usize];
        let leads = |arc: &Arc| arc.left > 0 && self.spots[arc.to as usize] == farther;
        let found = arcs.iter().position(leads).map(|place| next + place as u32);
        self.next[from] = found.unwrap_or(end);
        found
    }

    /// Pushes what it can along the path into the drain of its last node.
    /// Leaves the path up to where it is full and returns its last node.
    fn push(&mut self, source: u32, last: u32) -> u32 {
        let room = self
            .path
            .iter()
            .map(|&arc| self.arcs[arc as usize].left)
            .min();
        let amount = self.supply_left[source as usize]
            .min(self.drain_left[last as usize])
            .min(room.unwrap_or(u64::MAX));
        self.supply_left[source as usize] -= amount;
        self.drain_left[last as usize] -= amount;
        let mut full = None;
        for (step, &arc) in self.path.iter().enumerate() {
            let twin = self.arcs[arc as usize].twin;
            self.arcs[arc as usize].left -= amount;
            self.arcs[twin as usize].left += amount;
            if full.is_none() && self.arcs[arc as usize].left == 0 {
                full = Some(step);
            }
        }
        let Some(full) = full else { return last };
        let tail = self.tail(self.path[full]);
        self.path.truncate(full);
        tail
    }

    /// Where the arcs of a node end that are worth a look.
    fn end(&self, node: usize) -> u32 {
        match self.scope {
            Scope::Near => self.end[node].min(self.forth[node]),
            Scope::All => self.end[node],
        }
    }

    fn tail(&self, arc: u32) -> u32 {
        self.arcs[self.arcs[arc as usize].twin as usize].to
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Three layers, as groups, masks and CPUs are.
    fn arcs() -> impl Strategy<Value = Vec<(u32, u32, u64)>> {
        let first = (0..4u32, 4..8u32, 0..20u64);
        let second = (4..8u32, 8..12u32, prop_oneof![Just(1000u64), 0..20u64]);
        prop::collection::vec(prop_oneof![first, second], 0..40)
    }

    proptest! {
        #![proptest_config(crate::seeds::config("entitlement::flow"))]

        #[test]
        fn looking_at_the_near_first_changes_no_amount_and_no_cut(
            arcs in arcs(), drains in prop::collection::vec(0..40u64, 4),
            steps in prop::collection::vec(prop::collection::vec(0..20u64, 8), 1..4),
        ) {
            let mut both = [Network::default(), Network::default()];
            for network in &mut both {
                network.clear(12);
                for &(from, to, capacity) in &arcs {
                    network.add(from, to, capacity);
                }
                network.connect();
                for (node, &drain) in (8..).zip(&drains) {
                    network.set_drain(node, drain);
                }
            }
            let nodes: Vec<u32> = (0..12).collect();
            for supplies in steps {
                for network in &mut both {
                    for (node, &supply) in (0..).zip(&supplies) {
                        network.set_supply(node, supply);
                    }
                }
                let [near, all] = &mut both;
                prop_assert_eq!(near.run(&nodes), all.run_in(Scope::All, &nodes));
                for node in 0..12 {
                    prop_assert_eq!(near.is_short(node), all.is_short(node));
                }
            }
        }
    }
}
