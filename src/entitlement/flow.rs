// SPDX-License-Identifier: GPL-2.0-only
//! Maximum flow in whole numbers from many sources to many drains.
//! Never knows what its nodes stand for.
//!
//! Dinic's algorithm. A flow is kept when supplies change, and only repaired. A
//! search looks at 64 arcs of a node at once.
//! The network can be cut into regions, which then are networks of their own: an
//! arc from one region to another carries what it did.

mod search;

use std::ops::Range;

use crate::affinity::ones;

/// A network and the last flow in it. Memory is reused.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// What enters at each node, and the most that may leave there.
    supply: Vec<u64>,
    drain: Vec<u64>,
    /// Arcs that were added and not yet sorted: from, to, capacity.
    added: Vec<(u32, u32, u64)>,
    /// Where the arcs of each node begin, and the end of the last. They are in the
    /// order of where they lead.
    start: Vec<u32>,
    arcs: Vec<Arc>,
    /// What each arc can carry; its twin in the other direction: nothing.
    capacity: Vec<u64>,
    /// Of each arc, whether it led out of a region when that was cut off.
    full: Vec<bool>,
    /// The same arcs, 64 nodes to a block; where those of each node begin, and the
    /// end of the last; and the block of each arc.
    blocks: Vec<Block>,
    block_start: Vec<u32>,
    block_of: Vec<u32>,
    supply_left: Vec<u64>,
    drain_left: Vec<u64>,
    region: Vec<u32>,
    /// Of each node that the last search got to, how many arcs from the nearest one
    /// with supply left.
    distance: Vec<u32>,
    /// The nodes of the last search, as bits, and those that it did not get to.
    all: Vec<u64>,
    fresh: Vec<u64>,
    /// Those at distance 1, then those at distance 2, and so on, but for dead ends.
    layers: Vec<u64>,
    /// The next block of each node that is worth a look.
    next: Vec<u32>,
    queue: Vec<u32>,
    /// How many at its start have supply left, or had before it was pushed.
    sources: usize,
    /// Arcs, each with the node it leads from.
    path: Vec<(u32, u32)>,
    /// Of each node that an arc leads to from the one that hands on, what flowed
    /// there, or `FULL`; of others 0.
    handed: Vec<u64>,
}

/// The arc led out of a region when that was cut off.
const FULL: u64 = u64::MAX;

/// What every flow carries over an arc, as far as cuts tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carries {
    /// As much as it can.
    All,
    /// That depends.
    Some,
    /// Nothing: it leads back to a region that was cut off.
    Nothing,
}

/// One direction of an arc.
#[derive(Clone, Copy, Debug, Default)]
struct Arc {
    /// What of its capacity is left.
    left: u64,
    to: u32,
    twin: u32,
}

/// The arcs from one node to 64 others.
#[derive(Clone, Copy, Debug)]
struct Block {
    /// Which 64 these are.
    word: u32,
    /// The first of the arcs.
    first: u32,
    /// Where they lead.
    all: u64,
    /// Where those lead that may carry more.
    open: u64,
}

/// The word of a bit set that a node is in, and its bit there.
fn bit(node: u32) -> (usize, u64) {
    (node as usize / 64, 1 << (node % 64))
}

impl Network {
    /// Forgets everything and has this many nodes, without arcs, in region 0.
    pub fn clear(&mut self, nodes: usize) {
        for amounts in [
            &mut self.supply,
            &mut self.drain,
            &mut self.supply_left,
            &mut self.drain_left,
            &mut self.handed,
        ] {
            amounts.clear();
            amounts.resize(nodes, 0);
        }
        for numbers in [&mut self.region, &mut self.distance, &mut self.next] {
            numbers.clear();
            numbers.resize(nodes, 0);
        }
        self.added.clear();
    }

    /// Adds an arc: the first between the two, after all from the one to lower
    /// numbers and all to the other from lower numbers than the one.
    /// [`Network::connect`] must follow the last.
    pub fn add(&mut self, from: u32, to: u32, capacity: u64) {
        self.added.push((from, to, capacity));
    }

    /// Sorts the arcs by where they begin. [`Network::unite`] must follow.
    pub fn connect(&mut self) {
        let nodes = self.supply.len();
        self.start.clear();
        self.start.resize(nodes + 2, 0);
        for &(from, to, _) in &self.added {
            self.start[from as usize + 2] += 1;
            self.start[to as usize + 2] += 1;
        }
        for node in 0..nodes {
            self.start[node + 2] += self.start[node + 1];
        }
        // Every place is written below.
        self.arcs.resize(2 * self.added.len(), Arc::default());
        self.capacity.resize(2 * self.added.len(), 0);
        for &(from, to, capacity) in &self.added {
            let forth = self.start[from as usize + 1];
            self.start[from as usize + 1] += 1;
            let back = self.start[to as usize + 1];
            self.start[to as usize + 1] += 1;
            let arc = |to, twin| Arc { left: 0, to, twin };
            self.arcs[forth as usize] = arc(to, back);
            self.arcs[back as usize] = arc(from, forth);
            self.capacity[forth as usize] = capacity;
            self.capacity[back as usize] = 0;
        }
        self.start.truncate(nodes + 1);
        self.block_arcs();
    }

    /// Sorts the arcs of each node into blocks.
    fn block_arcs(&mut self) {
        self.blocks.clear();
        self.block_start.clear();
        self.block_of.clear();
        for arcs in self.start.windows(2) {
            self.block_start.push(self.blocks.len() as u32);
            let begin = self.blocks.len();
            for first in arcs[0]..arcs[1] {
                let (word, bit) = bit(self.arcs[first as usize].to);
                let word = word as u32;
                if self.blocks[begin..]
                    .last()
                    .is_none_or(|last| last.word != word)
                {
                    let (all, open) = (0, 0);
                    self.blocks.push(Block {
                        word,
                        first,
                        all,
                        open,
                    });
                }
                let at = self.blocks.len() - 1;
                debug_assert!(self.blocks[at].all < bit, "arcs are not in order");
                self.blocks[at].all |= bit;
                self.block_of.push(at as u32);
            }
        }
        self.block_start.push(self.blocks.len() as u32);
    }

    /// Makes it all one region again, in which nothing flows, without supplies
    /// or drains.
    pub fn unite(&mut self) {
        for amounts in [
            &mut self.supply,
            &mut self.supply_left,
            &mut self.drain,
            &mut self.drain_left,
        ] {
            amounts.fill(0);
        }
        self.region.fill(0);
        self.full.clear();
        self.full.resize(self.arcs.len(), false);
        for block in &mut self.blocks {
            block.open = 0;
        }
        for (at, &capacity) in self.capacity.iter().enumerate() {
            self.arcs[at].left = capacity;
            if capacity > 0 {
                self.blocks[self.block_of[at] as usize].open |= bit(self.arcs[at].to).1;
            }
        }
    }

    /// Has an arc carry so much more.
    fn carry(&mut self, arc: u32, amount: u64) {
        let twin = self.arcs[arc as usize].twin;
        self.set_left(arc, self.arcs[arc as usize].left - amount);
        self.set_left(twin, self.arcs[twin as usize].left + amount);
    }

    fn set_left(&mut self, arc: u32, left: u64) {
        let at = arc as usize;
        self.arcs[at].left = left;
        let (_, bit) = bit(self.arcs[at].to);
        let open = &mut self.blocks[self.block_of[at] as usize].open;
        *open = if left > 0 { *open | bit } else { *open & !bit };
    }

    /// The region of a node.
    pub fn region(&self, node: u32) -> u32 {
        self.region[node as usize]
    }

    /// Lets this much leave at a node where nothing leaves yet.
    pub fn set_drain(&mut self, node: usize, amount: u64) {
        (self.drain[node], self.drain_left[node]) = (amount, amount);
    }

    /// Has this much enter at a node. If that is less than before, what no
    /// longer enters no longer flows. Returns what of it has found no way yet.
    pub fn set_supply(&mut self, node: u32, amount: u64) -> u64 {
        let at = node as usize;
        let before = std::mem::replace(&mut self.supply[at], amount);
        if amount >= before {
            self.supply_left[at] += amount - before;
        } else {
            let unrouted = self.supply_left[at].min(before - amount);
            self.supply_left[at] -= unrouted;
            self.withdraw(node, before - amount - unrouted);
        }
        self.supply_left[at]
    }

    /// Takes what found no way at a node out of its supply, and returns the rest.
    pub fn settle(&mut self, node: u32) -> u64 {
        let at = node as usize;
        self.supply[at] -= std::mem::take(&mut self.supply_left[at]);
        self.supply[at]
    }

    /// What flows over the arcs of a node, if it does not come to a region that
    /// was cut off, from now on enters where they lead, or where arcs of the heirs
    /// begin that lead there: these have more there together than it does, or as much,
    /// and nothing enters at them yet. Nothing else enters here.
    pub fn hand_on(&mut self, node: u32, heirs: &[u32]) {
        for at in self.arcs_of(node) {
            let Arc { left, to, twin } = self.arcs[at];
            let capacity = self.capacity[at];
            if capacity > 0 {
                let flow = if self.full[at] { FULL } else { capacity - left };
                self.handed[to as usize] = flow;
                self.set_left(at as u32, capacity);
                self.set_left(twin, 0);
            }
        }
        for &heir in heirs {
            self.inherit(node, heir);
        }
        for at in self.arcs_of(node) {
            let to = self.arcs[at].to as usize;
            let handed = std::mem::take(&mut self.handed[to]);
            self.supply[to] += if handed == FULL { 0 } else { handed };
        }
        self.set_drain(node as usize, 0);
        (self.supply[node as usize], self.supply_left[node as usize]) = (0, 0);
    }

    /// Has an heir of a node take over what it can of that node's flow, in its region.
    fn inherit(&mut self, node: u32, heir: u32) {
        let region = self.region(node);
        self.region[heir as usize] = region;
        for at in self.arcs_of(heir) {
            let Arc { to, twin, .. } = self.arcs[at];
            let capacity = self.capacity[at];
            if capacity == 0 {
                continue;
            }
            let handed = &mut self.handed[to as usize];
            let mut flow = capacity.min(*handed);
            if *handed == FULL {
                self.full[at] = true;
                self.drain[heir as usize] += capacity;
            } else if self.region(to) == region {
                self.handed[to as usize] -= flow;
            } else {
                flow = 0;
            }
            self.supply[heir as usize] += flow;
            self.set_left(at as u32, capacity - flow);
            self.set_left(twin, flow);
        }
    }

    /// The arcs that begin at a node, and the twins of those that end there.
    fn arcs_of(&self, node: u32) -> Range<usize> {
        self.start[node as usize] as usize..self.start[node as usize + 1] as usize
    }

    /// Where the arcs of a node lead that were added with it as their beginning and a
    /// capacity, in that order, and what is known of them.
    pub fn arcs_from(&self, node: u32) -> impl Iterator<Item = (u32, Carries)> {
        let arcs = self.arcs_of(node);
        arcs.filter(|&arc| self.capacity[arc] > 0).map(move |arc| {
            let to = self.arcs[arc].to;
            let carries = match self.region(to) == self.region(node) {
                _ if self.full[arc] => Carries::All,
                true => Carries::Some,
                false => Carries::Nothing,
            };
            (to, carries)
        })
    }

    /// What is known of all arcs from a node together.
    pub fn carries(&self, node: u32) -> Carries {
        let mut arcs = self.arcs_from(node).map(|(_, carries)| carries);
        let first = arcs.next().unwrap_or(Carries::All);
        let alike = arcs.all(|carries| carries == first);
        if alike { first } else { Carries::Some }
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.supply.len()
    }

    /// The supply that has found a way.
    pub fn routed(&self) -> u64 {
        let supplies = self.supply.iter().zip(&self.supply_left);
        supplies.map(|(supply, left)| supply - left).sum()
    }

    /// Whether the node, of the region of the last run, is on the source side of the
    /// smallest minimum cut: what is left of some supply could still get there.
    pub fn is_short(&self, node: u32) -> bool {
        let (word, bit) = bit(node);
        self.fresh[word] & bit == 0
    }

    /// The nodes of that region that are not short, as bits.
    pub fn enough(&self) -> &[u64] {
        &self.fresh
    }

    /// Makes the short ones of a region, as bits, another, with this number: what arcs
    /// from there to the others, as bits too, can carry (they are full) leaves here and
    /// enters there, and in `fixed` too. Returns all that can leave the region.
    pub fn cut(&mut self, short: &[u64], others: &[u64], number: u32, fixed: &mut [u64]) -> u64 {
        for node in ones(short) {
            self.region[node] = number;
        }
        let count = |nodes: &[u64]| nodes.iter().map(|word| word.count_ones()).sum::<u32>();
        if count(short) <= count(others) {
            let old = ones(others).next().map(|node| self.region[node]);
            for from in ones(short) {
                for at in self.arcs_of(from as u32) {
                    let to = self.arcs[at].to;
                    if Some(self.region(to)) == old {
                        self.fill(at, from, to as usize, fixed);
                    }
                }
            }
        } else {
            for to in ones(others) {
                for at in self.arcs_of(to as u32) {
                    let Arc { to: from, twin, .. } = self.arcs[at];
                    if self.region(from) == number {
                        self.fill(twin as usize, from as usize, to, fixed);
                    }
                }
            }
        }
        ones(short).fold(0, |sum, node| self.drain[node].saturating_add(sum))
    }

    /// What a full arc carries leaves where it begins, and enters where it leads.
    fn fill(&mut self, arc: usize, from: usize, to: usize, fixed: &mut [u64]) {
        let capacity = self.capacity[arc];
        self.full[arc] = capacity > 0;
        self.drain[from] += capacity;
        self.supply[to] += capacity;
        fixed[to] += capacity;
    }

    /// Marks every node that supply at the marked ones could get to, over
    /// arcs and by displacing flows of more than `least`.
    pub fn spread(&mut self, marked: &mut [bool], least: u64) {
        self.queue.clear();
        self.queue.extend(
            (0..)
                .zip(marked.iter())
                .filter_map(|(node, &marked)| marked.then_some(node)),
        );
        let mut at = 0;
        while let Some(&node) = self.queue.get(at) {
            at += 1;
            for arc in &self.arcs
                [self.start[node as usize] as usize..self.start[node as usize + 1] as usize]
            {
                if arc.left > least && !marked[arc.to as usize] {
                    marked[arc.to as usize] = true;
                    self.queue.push(arc.to);
                }
            }
        }
    }
}
