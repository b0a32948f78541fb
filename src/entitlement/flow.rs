// SPDX-License-Identifier: GPL-2.0-only
//! Maximum flow in whole numbers from many sources to many drains.
//! Never knows what its nodes stand for.
//!
//! Dinic's algorithm. A flow is kept when supplies change, and only repaired.
//! The network can be cut into regions, which then are networks of their own: an
//! arc from one region to another carries what it did.

mod search;

use search::Scope;

/// The distance of a node that no supply is left for.
const UNREACHED: u32 = u32::MAX;

/// A network and the last flow in it. Memory is reused.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// What enters at each node, and the most that may leave there.
    supply: Vec<u64>,
    drain: Vec<u64>,
    /// Arcs that were added and not yet sorted: from, to, capacity.
    added: Vec<(u32, u32, u64)>,
    /// Where the arcs of each node begin, and the end of the last.
    start: Vec<u32>,
    /// Where those end that may still carry something, but for where they begin.
    end: Vec<u32>,
    /// Where the arcs that were added from each node end; where there are none,
    /// past all.
    forth: Vec<u32>,
    arcs: Vec<Arc>,
    /// What each arc can carry; its twin in the other direction: nothing.
    capacity: Vec<u64>,
    /// Of each arc, whether it led out of a region when that was cut off.
    full: Vec<bool>,
    supply_left: Vec<u64>,
    drain_left: Vec<u64>,
    /// Where each node is.
    spots: Vec<Spot>,
    /// The next arc of each node that is worth a look.
    next: Vec<u32>,
    queue: Vec<u32>,
    /// How many at its start have supply left, or had before it was pushed.
    sources: usize,
    path: Vec<u32>,
    scope: Scope,
    /// Whether the scope of the last search left arcs out.
    left_out: bool,
}

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

/// Where a node is: what every search asks of the end of every arc.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spot {
    region: u32,
    /// Arcs from the nearest node with supply left, or `UNREACHED`.
    distance: u32,
}

/// One direction of an arc, no larger than what every search reads.
#[derive(Clone, Copy, Debug, Default)]
struct Arc {
    /// What of its capacity is left.
    left: u64,
    to: u32,
    twin: u32,
}

impl Network {
    /// Forgets everything and has this many nodes, without arcs, in region 0.
    pub fn clear(&mut self, nodes: usize) {
        for amounts in [
            &mut self.supply,
            &mut self.drain,
            &mut self.supply_left,
            &mut self.drain_left,
        ] {
            amounts.clear();
            amounts.resize(nodes, 0);
        }
        self.spots.clear();
        self.spots.resize(nodes, Spot::default());
        self.next.clear();
        self.next.resize(nodes, 0);
        self.added.clear();
    }

    /// Adds an arc. [`Network::connect`] must follow the last one.
    pub fn add(&mut self, from: u32, to: u32, capacity: u64) {
        self.added.push((from, to, capacity));
    }

    /// Sorts the arcs by where they begin.
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
        self.arcs.clear();
        self.arcs.resize(2 * self.added.len(), Arc::default());
        self.capacity.clear();
        self.capacity.resize(2 * self.added.len(), 0);
        self.forth.clear();
        self.forth.resize(nodes, u32::MAX);
        for &(from, to, capacity) in &self.added {
            let forth = self.start[from as usize + 1];
            self.start[from as usize + 1] += 1;
            let back = self.start[to as usize + 1];
            self.start[to as usize + 1] += 1;
            let arc = |to, twin| Arc { left: 0, to, twin };
            self.arcs[forth as usize] = arc(to, back);
            self.arcs[back as usize] = arc(from, forth);
            self.capacity[forth as usize] = capacity;
            self.forth[from as usize] = forth + 1;
        }
        self.start.truncate(nodes + 1);
        self.unite();
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
        for spot in &mut self.spots {
            spot.region = 0;
        }
        self.full.clear();
        self.full.resize(self.arcs.len(), false);
        self.end.clear();
        self.end.extend_from_slice(&self.start[1..]);
        for (arc, &capacity) in self.arcs.iter_mut().zip(&self.capacity) {
            arc.left = capacity;
        }
    }

    /// The region of a node.
    pub fn region(&self, node: u32) -> u32 {
        self.spots[node as usize].region
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
    /// was cut off, from now on enters where they lead. Nothing else enters here.
    /// Searches are fastest if the arcs that were added last are handed on first.
    pub fn hand_on(&mut self, node: u32) {
        let from = node as usize;
        for at in self.start[from] as usize..self.start[from + 1] as usize {
            let Arc { left, to, twin } = self.arcs[at];
            let capacity = self.capacity[at];
            if capacity == 0 {
                continue;
            }
            if !self.full[at] {
                self.supply[to as usize] += capacity - left;
            }
            self.arcs[at].left = capacity;
            self.arcs[twin as usize].left = 0;
            // Nothing can be displaced over it any more: no search need see it.
            let end = &mut self.end[to as usize];
            *end -= u32::from(*end == twin + 1);
        }
        self.set_drain(from, 0);
        (self.supply[from], self.supply_left[from]) = (0, 0);
    }

    /// What is known of the arcs that were added from a node, in their order,
    /// if their capacity is not 0.
    pub fn arcs_from(&self, node: u32) -> impl Iterator<Item = Carries> {
        let from = node as usize;
        let arcs = self.start[from] as usize..self.start[from + 1] as usize;
        arcs.filter(|&arc| self.capacity[arc] > 0).map(move |arc| {
            let to = self.arcs[arc].to;
            match self.region(to) == self.region(node) {
                _ if self.full[arc] => Carries::All,
                true => Carries::Some,
                false => Carries::Nothing,
            }
        })
    }

    /// The supply that has found a way, of these nodes.
    pub fn routed(&self, nodes: &[u32]) -> u64 {
        let routed = |&node: &u32| self.supply[node as usize] - self.supply_left[node as usize];
        nodes.iter().map(routed).sum()
    }

    /// Whether the node is on the source side of the smallest minimum cut: what
    /// is left of some supply could still get there.
    pub fn is_short(&self, node: u32) -> bool {
        self.spots[node as usize].distance != UNREACHED
    }

    /// Makes the short ones of a region another, with this number: what arcs
    /// from there to the others can carry (they are full) leaves here and
    /// enters there, and in `fixed` too. Returns all that can leave the region.
    pub fn cut(&mut self, short: &[u32], number: u32, fixed: &mut [u64]) -> u64 {
        let old = short.first().map_or(number, |&node| self.region(node));
        for &node in short {
            self.spots[node as usize].region = number;
        }
        let mut leaving = 0u64;
        for &node in short {
            let from = node as usize;
            for at in self.start[from] as usize..self.start[from + 1] as usize {
                let (to, capacity) = (self.arcs[at].to, self.capacity[at]);
                if capacity > 0 && self.region(to) == old {
                    let to = to as usize;
                    self.full[at] = true;
                    self.drain[from] += capacity;
                    self.supply[to] += capacity;
                    fixed[to] += capacity;
                }
            }
            leaving = leaving.saturating_add(self.drain[from]);
        }
        leaving
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
