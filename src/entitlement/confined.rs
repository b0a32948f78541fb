// SPDX-License-Identifier: GPL-2.0-only
//! Splits what a group got among its children where masks stand in the way.
//! Never decides what the group gets.

use std::ops::Range;

use super::Entitlements;
use super::classes::Classes;
use super::fill::{Claim, Filler, entitlement};
use super::flow::{Carries, Network};
use super::payout::Payout;
use super::tree::{Child, Kind, MIXED, Tree};
use super::units::{UNBOUNDED, cpus, units};

/// The network of a problem, what is known of the flows in it, and scratch
/// memory.
///
/// CPUs that are full stay so whatever later groups do. So the regions that are
/// cut off for one group stay for those after it, and a group is split in the
/// region it is in: children beyond a cut get all they want or nothing.
#[derive(Debug, Default)]
pub(super) struct Confined {
    network: Network,
    /// Amounts that differ by no more are equal: every child and every node may
    /// have lost a unit to rounding.
    slack: u64,
    /// All nodes; those of a region are together.
    nodes: Vec<u32>,
    /// Where the nodes of each region are.
    regions: Vec<Range<usize>>,
    /// What enters at each node whatever the children of the group get.
    fixed: Vec<u64>,
    /// Children of the group; those of a part are together.
    terminals: Vec<Terminal>,
    parts: Vec<Part>,
}

/// Children of one group that are at the same node: all of one mask class, or
/// one group.
#[derive(Clone, Debug)]
struct Terminal {
    node: u32,
    children: Range<usize>,
    /// What they could use, in units.
    demand: u64,
}

/// Some of the terminals, and the region of the network that is theirs.
#[derive(Clone, Debug)]
struct Part {
    terminals: Range<usize>,
    region: u32,
    /// What the terminals get together, in units.
    amount: u64,
}

/// A group about to be split, and what that takes.
pub(super) struct Split<'a> {
    pub tree: &'a Tree,
    pub classes: &'a Classes,
    pub group: usize,
    pub filler: &'a mut Filler,
    pub payout: &'a mut Payout,
    pub out: &'a mut Entitlements,
}

impl Confined {
    /// Builds the network: from groups to the groups and mask classes in them,
    /// from mask classes to classes of CPUs. The nodes are those of `payout`.
    pub fn build(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) {
        let nodes = payout.given.len();
        self.network.clear(nodes);
        self.nodes.clear();
        self.nodes.extend(0..nodes as u32);
        self.slack = (tree.children.len() + nodes) as u64;
        for class in 0..classes.count {
            for &cpus in classes.reach(class) {
                let cpus = classes.count as u32 + cpus;
                self.network.add(class as u32, cpus, UNBOUNDED);
            }
        }
        for group in 1..tree.len() {
            if tree.class[group] == MIXED {
                list_terminals(tree, payout, group, &mut self.terminals);
                for terminal in &self.terminals {
                    self.network
                        .add(payout.node[group], terminal.node, terminal.demand);
                }
            }
        }
        self.network.connect();
    }

    /// Whether the CPUs can carry what was given.
    pub fn is_feasible(&mut self, classes: &Classes, payout: &Payout) -> bool {
        self.unite(classes);
        self.network.supply.clone_from(&payout.given);
        self.network.run(&self.nodes) <= self.slack
    }

    /// The most that the children of the root can get together, in CPUs.
    /// To be called before the first split.
    pub fn most(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) -> f64 {
        self.unite(classes);
        list_terminals(tree, payout, 0, &mut self.terminals);
        self.network.supply.fill(0);
        for terminal in &self.terminals {
            self.network.supply[terminal.node as usize] = terminal.demand;
        }
        if self.network.run(&self.nodes) <= self.slack {
            return cpus(tree.sum[0]);
        }
        cpus(self.network.routed(&self.nodes))
    }

    /// Marks the mask classes, CPUs and groups that the marked mask classes
    /// could get to, by displacing others, in the flow that
    /// [`Confined::is_feasible`] found.
    pub fn spread(&mut self, marked: &mut [bool]) {
        self.network.spread(marked, self.slack);
    }

    /// Splits what the group got. Returns the highest level among those who
    /// have CPUs to themselves.
    pub fn split(&mut self, mut split: Split<'_>) -> f64 {
        list_terminals(split.tree, split.payout, split.group, &mut self.terminals);
        let mut amount = units(split.payout.total[split.group]);
        let (mut region, mut terminals) = (0, 0..self.terminals.len());
        if split.group != 0 {
            let node = split.payout.node[split.group];
            self.fixed[node as usize] = 0;
            region = self.network.region[node as usize];
            let beyond;
            (terminals, beyond) = self.hand_out_beyond(node, &mut split);
            amount = amount.saturating_sub(beyond);
        }
        self.parts.clear();
        self.parts.push(Part {
            terminals,
            region,
            amount,
        });
        let mut highest: f64 = 0.0;
        while let Some(part) = self.parts.pop() {
            let level = self.level(&part, &mut split);
            if level.is_infinite()
                || part.terminals.len() == 1
                || self.carries(&part, &split, level)
                || !self.divide(&part)
            {
                self.settle(&part, &mut split, level);
                if self.has_cpus(&part, split.classes) {
                    highest = highest.max(level);
                }
            }
        }
        highest
    }

    /// Gives children beyond cuts what they get. Returns the others and what
    /// was given.
    fn hand_out_beyond(&mut self, node: u32, split: &mut Split<'_>) -> (Range<usize>, u64) {
        let (mut here, mut given) = (0, 0);
        let mut arcs = self.network.arcs_from(node);
        for at in 0..self.terminals.len() {
            let terminal = &self.terminals[at];
            // Whoever wants nothing has no arc.
            let carries = match terminal.demand {
                0 => Carries::All,
                _ => arcs.next().unwrap_or(Carries::Some),
            };
            let level = match carries {
                Carries::All => f64::INFINITY,
                Carries::Nothing => 0.0,
                Carries::Some => {
                    self.terminals.swap(here, at);
                    here += 1;
                    continue;
                }
            };
            // It enters at the node of the child already.
            given += if level > 0.0 { terminal.demand } else { 0 };
            split.hand_out(terminal, level);
        }
        (0..here, given)
    }

    /// The level at which the part gets its amount, as far as masks let it.
    fn level(&self, part: &Part, split: &mut Split<'_>) -> f64 {
        let terminals = &self.terminals[part.terminals.clone()];
        let demand = terminals
            .iter()
            .fold(0u64, |sum, t| sum.saturating_add(t.demand));
        if demand <= part.amount + self.slack {
            return f64::INFINITY;
        }
        let children = &split.tree.children;
        let claims = terminals
            .iter()
            .flat_map(|t| children[t.children.clone()].iter());
        split
            .filler
            .level(claims.map(|child| child.claim), cpus(part.amount))
            .level
    }

    /// Whether the CPUs of the part can carry what its terminals get at a level.
    fn carries(&mut self, part: &Part, split: &Split<'_>, level: f64) -> bool {
        let nodes = &self.nodes[self.regions[part.region as usize].clone()];
        for &node in nodes {
            self.network.supply[node as usize] = self.fixed[node as usize];
        }
        for terminal in &self.terminals[part.terminals.clone()] {
            self.network.supply[terminal.node as usize] += split.amount(terminal, level);
        }
        self.network.run(nodes) <= self.slack
    }

    /// Divides a part that its CPUs cannot carry: those who are short, in the
    /// smallest sense, have CPUs to themselves and a level below that of the
    /// others. False if that is nobody or everybody, which only rounding does.
    fn divide(&mut self, part: &Part) -> bool {
        let network = &mut self.network;
        let Range { start, end } = part.terminals;
        let terminals = &mut self.terminals[start..end];
        let middle = start + partition(terminals, |terminal| network.is_short(terminal.node));
        if middle == start || middle == end {
            return false;
        }
        let nodes = self.regions[part.region as usize].clone();
        let count = partition(&mut self.nodes[nodes.clone()], |&node| {
            network.is_short(node)
        });
        let (short, others) = (
            nodes.start..nodes.start + count,
            nodes.start + count..nodes.end,
        );
        let region = self.regions.len() as u32;
        self.regions[part.region as usize] = others;
        self.regions.push(short.clone());
        let short = &self.nodes[short];
        let leaving = network.cut(short, region, &mut self.fixed);
        let entering = short.iter().map(|&node| self.fixed[node as usize]);
        let amount = leaving.saturating_sub(entering.sum()).min(part.amount);
        self.parts.push(Part {
            terminals: middle..end,
            region: part.region,
            amount: part.amount - amount,
        });
        self.parts.push(Part {
            terminals: start..middle,
            region,
            amount,
        });
        true
    }

    /// Gives the terminals of a part what they get at its level.
    fn settle(&mut self, part: &Part, split: &mut Split<'_>, level: f64) {
        for terminal in &self.terminals[part.terminals.clone()] {
            self.fixed[terminal.node as usize] += split.amount(terminal, level);
            split.hand_out(terminal, level);
        }
    }

    fn has_cpus(&self, part: &Part, classes: &Classes) -> bool {
        let nodes = &self.nodes[self.regions[part.region as usize].clone()];
        let cpu_classes = classes.count..classes.count + classes.capacity.len();
        nodes.iter().any(|&node| {
            let node = node as usize;
            cpu_classes.contains(&node) && classes.capacity[node - classes.count] > 0
        })
    }

    /// Makes the network one region again, in which nothing is given.
    fn unite(&mut self, classes: &Classes) {
        self.network.unite();
        self.network.drain[classes.count..][..classes.capacity.len()]
            .copy_from_slice(&classes.capacity);
        self.regions.clear();
        self.regions.push(0..self.nodes.len());
        self.fixed.clear();
        self.fixed.resize(self.nodes.len(), 0);
    }
}

impl Split<'_> {
    /// What a terminal gets at a level, in units.
    fn amount(&self, terminal: &Terminal, level: f64) -> u64 {
        let children = &self.tree.children[terminal.children.clone()];
        sum(children, |claim| entitlement(claim, level))
    }

    fn hand_out(&mut self, terminal: &Terminal, level: f64) {
        let children = terminal.children.clone();
        self.payout
            .hand_out(self.tree, self.group, children, level, self.out);
    }
}

/// Lists the children of a group by node.
fn list_terminals(tree: &Tree, payout: &Payout, group: usize, list: &mut Vec<Terminal>) {
    list.clear();
    let all = tree.children_of(group);
    let mut start = all.start;
    for children in tree.children[all].chunk_by(|a, b| a.class == b.class && a.class != MIXED) {
        let end = start + children.len();
        let node = match tree.kind(&children[0]) {
            Kind::Group(group) if children[0].class == MIXED => payout.node[group],
            _ => children[0].class,
        };
        list.push(Terminal {
            node,
            children: start..end,
            demand: sum(children, |claim| claim.demand),
        });
        start = end;
    }
}

/// Σ of something about the claims of children, in units.
fn sum(children: &[Child], cpus: impl Fn(Claim) -> f64) -> u64 {
    let sum = children.iter().fold(0u64, |sum, child| {
        sum.saturating_add(units(cpus(child.claim)))
    });
    sum.min(UNBOUNDED)
}

/// Puts those of which `first` is true before the others. Returns how many.
fn partition<T>(items: &mut [T], first: impl Fn(&T) -> bool) -> usize {
    let mut count = 0;
    for at in 0..items.len() {
        if first(&items[at]) {
            items.swap(at, count);
            count += 1;
        }
    }
    count
}
