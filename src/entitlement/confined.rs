// SPDX-License-Identifier: GPL-2.0-only
//! Splits what a group got among its children where masks stand in the way.
//! Never decides what the group gets.

use std::ops::Range;

use super::classes::Classes;
use super::fill::{Filler, entitlement};
use super::flow::{Carries, Network};
use super::ladder::Ladder;
use super::payout::Payout;
use super::regions::Regions;
use super::terminal::{Terminal, demand, list_terminals, satisfy};
use super::tree::{MIXED, Tree};
use super::units::{UNBOUNDED, cpus, units};
use super::{Entitlements, Problem};
use crate::affinity::ones;

/// The network of a problem, what is known of the flows in it, and scratch
/// memory.
///
/// CPUs that are full stay so whatever later groups do. So the regions that are
/// cut off for one group stay for those after it, and a group is split in the
/// region it is in: children beyond a cut get all they want or nothing.
#[derive(Debug, Default)]
pub(super) struct Confined {
    network: Network,
    /// The version of the classes that the network is of, if there are no groups in
    /// it; otherwise 0.
    flat_version: u64,
    /// Amounts that differ by no more are equal: every child and every node may
    /// have lost a unit to rounding.
    slack: u64,
    regions: Regions,
    /// What enters at each node whatever the children of the group get.
    fixed: Vec<u64>,
    filler: Filler,
    ladder: Ladder,
    /// Children of the group; those of a part are together.
    terminals: Vec<Terminal>,
    parts: Vec<Part>,
    /// Whether a part had to be divided since the regions were united.
    divided: bool,
}

/// Some of the terminals, and the region of the network that is theirs.
#[derive(Clone, Debug)]
struct Part {
    terminals: Range<usize>,
    region: u32,
    /// What the terminals get together, in units.
    amount: u64,
    /// Their level is not below this.
    least: f64,
}

/// A group about to be split, and what that takes.
pub(super) struct Split<'a> {
    pub tree: &'a Tree,
    pub group: usize,
    pub payout: &'a mut Payout,
    pub out: &'a mut Entitlements,
}

impl Confined {
    /// Builds the network: from groups to the groups and mask classes in them,
    /// from mask classes to classes of CPUs. The nodes are those of `payout`.
    pub fn build(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) {
        let nodes = payout.given.len();
        self.begin(classes, nodes);
        self.slack = (tree.children.len() + nodes) as u64;
        self.flat_version = 0;
        for group in tree.deepest_first() {
            if group != 0 && tree.class[group] == MIXED {
                list_terminals(tree, payout, group, &mut self.terminals);
                for terminal in &self.terminals {
                    self.network
                        .add(payout.node[group], terminal.node, terminal.demand);
                }
            }
        }
        self.network.connect();
    }

    /// Builds the network of mask classes and classes of CPUs alone: what groups got
    /// must have been handed on to tasks.
    pub fn build_without_groups(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) {
        self.slack = (tree.children.len() + payout.given.len()) as u64;
        self.connect_classes(classes);
    }

    fn connect_classes(&mut self, classes: &Classes) {
        if self.flat_version != classes.version {
            self.begin(classes, classes.sets().masks + classes.capacity.len());
            self.network.connect();
            self.flat_version = classes.version;
        }
    }

    /// Builds the network of mask classes and classes of CPUs, for tasks in one
    /// group.
    pub fn build_flat(&mut self, problem: &Problem<'_>, classes: &Classes) {
        self.connect_classes(classes);
        self.unite(classes);
        self.slack = (problem.tasks.len() + self.regions.nodes()) as u64;
        let claims = problem.tasks.iter().map(|task| {
            let class = classes.of(task.mask);
            (class as usize, task.claim().sane())
        });
        let ladder = &mut self.ladder;
        ladder.build(claims, &classes.sizes);
        self.terminals.clear();
        self.terminals
            .extend((0..classes.sets().masks).map(|class| Terminal {
                node: class as u32,
                children: 0..0,
                list: class,
                demand: units(ladder.demand(class)),
                level: 0.0,
                amount: 0,
            }));
    }

    /// Starts a network, with arcs from mask classes to their classes of CPUs.
    fn begin(&mut self, classes: &Classes, nodes: usize) {
        self.network.clear(nodes);
        for class in 0..classes.sets().masks {
            for &cpus in classes.sets().reach(class) {
                let cpus = classes.sets().masks as u32 + cpus;
                self.network.add(class as u32, cpus, UNBOUNDED);
            }
        }
    }

    /// What all terminals could use, in units.
    pub fn demand(&self) -> u64 {
        demand(&self.terminals)
    }

    /// The most that the tasks of one group can get together, in units.
    pub fn most_flat(&mut self) -> u64 {
        for terminal in &self.terminals {
            self.network.set_supply(terminal.node, terminal.demand);
        }
        if self.run_all() <= self.slack {
            return self.demand();
        }
        self.network.routed()
    }

    /// Splits `amount` among the tasks of one group. Returns what
    /// [`Confined::split`] does.
    pub fn split_flat(&mut self, amount: u64) -> f64 {
        self.parts.clear();
        self.parts.push(Part {
            terminals: 0..self.terminals.len(),
            region: 0,
            amount,
            least: 0.0,
        });
        self.decide()
    }

    /// The level of each mask class in the last split of one group.
    pub fn write_levels(&self, levels: &mut Vec<f64>) {
        levels.clear();
        levels.resize(self.terminals.len(), 0.0);
        for terminal in &self.terminals {
            levels[terminal.node as usize] = terminal.level;
        }
    }

    /// Whether masks kept the tasks of one group from sharing `unconfined`
    /// alike.
    pub fn falls_short(&self, most: u64, unconfined: u64) -> bool {
        self.divided || most + self.slack < unconfined
    }

    /// Whether the CPUs can carry what was given.
    pub fn is_feasible(&mut self, classes: &Classes, payout: &Payout) -> bool {
        self.unite(classes);
        for (node, &given) in (0..self.regions.nodes() as u32).zip(&payout.given) {
            self.network.set_supply(node, given);
        }
        self.run_all() <= self.slack
    }

    /// The most that the children of the root can get together, in CPUs.
    /// To be called just before the first split.
    pub fn most(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) -> f64 {
        self.unite(classes);
        list_terminals(tree, payout, 0, &mut self.terminals);
        for terminal in &self.terminals {
            self.fixed[terminal.node as usize] = terminal.demand;
        }
        for (node, demand) in (0..).zip(&mut self.fixed) {
            self.network.set_supply(node, std::mem::take(demand));
        }
        if self.run_all() <= self.slack {
            return cpus(tree.sum[0]);
        }
        cpus(self.network.routed())
    }

    /// Whether `total` CPUs are so much more than the most there can be that no
    /// rounding of shares makes them fit.
    pub fn is_below(&self, most: f64, total: f64) -> bool {
        units(most) + 2 * self.slack < units(total)
    }

    /// Marks the mask classes, CPUs and groups that the marked mask classes
    /// could get to, by displacing others, in the flow of the outcome.
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
            self.network.hand_on(node);
            region = self.network.region(node);
            self.regions.retire(region, node);
            let beyond;
            (terminals, beyond) = self.hand_out_beyond(node, &mut split);
            amount = amount.saturating_sub(beyond);
        }
        let part = Part {
            terminals: terminals.clone(),
            region,
            amount,
            least: 0.0,
        };
        let level = self.first_level(&part, split.tree);
        self.parts.clear();
        let mut highest = self.apply(&part, level);
        if !self.parts.is_empty() {
            self.climb(terminals.clone(), split.tree);
            highest = highest.max(self.decide());
        }
        for terminal in &self.terminals[terminals] {
            split.hand_out(terminal, terminal.level);
        }
        highest
    }

    /// Makes the flow a maximum flow. Returns the supply that finds no way. The
    /// network must be one region.
    fn run_all(&mut self) -> u64 {
        let nodes = 0..self.regions.nodes() as u32;
        self.network.run(self.regions.of(0), nodes)
    }

    /// Finds the levels of all parts. Returns the highest of those whose terminals
    /// have CPUs to themselves.
    fn decide(&mut self) -> f64 {
        let mut highest = 0.0f64;
        while let Some(part) = self.parts.pop() {
            let level = self.level(&part);
            highest = highest.max(self.apply(&part, level));
        }
        highest
    }

    /// Settles a part at a level that its CPUs can carry, or else divides it.
    /// Returns the level if it is settled and has CPUs to itself, otherwise 0.
    fn apply(&mut self, part: &Part, level: f64) -> f64 {
        let is_one = level.is_infinite() || part.terminals.len() == 1;
        if !self.carries(part) && !is_one && self.divide(part, level) {
            return 0.0;
        }
        self.settle(part);
        match self.regions.has_drains(part.region) {
            true => level,
            false => 0.0,
        }
    }

    /// Sorts the children of the terminals into the ladder.
    fn climb(&mut self, terminals: Range<usize>, tree: &Tree) {
        self.ladder.clear();
        for terminal in &mut self.terminals[terminals] {
            let claims = tree.claims(terminal.children.clone());
            terminal.list = self.ladder.add(claims);
        }
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

    /// As [`Confined::level`], of claims that are not sorted: most groups need
    /// no other level.
    fn first_level(&mut self, part: &Part, tree: &Tree) -> f64 {
        let terminals = &mut self.terminals[part.terminals.clone()];
        if demand(terminals) <= part.amount + self.slack {
            return satisfy(terminals);
        }
        let children = terminals.iter().map(|terminal| terminal.children.clone());
        let claims = children.flat_map(|children| tree.claims(children));
        let level = self.filler.level(claims, cpus(part.amount)).level;
        if level.is_infinite() {
            return satisfy(terminals);
        }
        for terminal in terminals {
            let claims = tree.claims(terminal.children.clone());
            let amount: f64 = claims.map(|claim| entitlement(claim, level)).sum();
            terminal.level = level;
            terminal.amount = units(amount).min(terminal.demand);
        }
        level
    }

    /// The level at which the part gets its amount, as far as masks let it, and
    /// what its terminals get at that.
    fn level(&mut self, part: &Part) -> f64 {
        let terminals = &mut self.terminals[part.terminals.clone()];
        if demand(terminals) <= part.amount + self.slack {
            return satisfy(terminals);
        }
        let lists = terminals.iter().map(|terminal| terminal.list);
        let level = self.ladder.level(lists, cpus(part.amount), part.least);
        if level.is_infinite() {
            return satisfy(terminals);
        }
        for terminal in terminals {
            let sum = self.ladder.at(terminal.list, level);
            let amount = units(sum.met + level * sum.limited);
            terminal.level = level;
            terminal.amount = amount.min(terminal.demand);
        }
        level
    }

    /// Whether the CPUs of the part can carry what its terminals get.
    fn carries(&mut self, part: &Part) -> bool {
        let mut left = 0u64;
        for terminal in &self.terminals[part.terminals.clone()] {
            let amount = self.fixed[terminal.node as usize] + terminal.amount;
            left = left.saturating_add(self.network.set_supply(terminal.node, amount));
        }
        // All of it mostly flows already, as others that got less made room.
        let sources = self.terminals[part.terminals.clone()].iter();
        let sources = sources.map(|terminal| terminal.node);
        left == 0 || self.network.run(self.regions.of(part.region), sources) <= self.slack
    }

    /// Divides a part that its CPUs cannot carry: those who are short, in the
    /// smallest sense, have CPUs to themselves and a level below that of the
    /// others. False if that is nobody or everybody, which only rounding does.
    fn divide(&mut self, part: &Part, level: f64) -> bool {
        let network = &mut self.network;
        let Range { start, end } = part.terminals;
        let terminals = &mut self.terminals[start..end];
        let middle = start + partition(terminals, |terminal| network.is_short(terminal.node));
        if middle == start || middle == end {
            return false;
        }
        self.divided = true;
        let region = self.regions.split(part.region, self.network.enough());
        let short = self.regions.of(region);
        let leaving = self.network.cut(short, region, &mut self.fixed);
        let entering = ones(short).map(|node| self.fixed[node]);
        let amount = leaving.saturating_sub(entering.sum()).min(part.amount);
        self.parts.push(Part {
            terminals: middle..end,
            region: part.region,
            amount: part.amount - amount,
            least: level,
        });
        self.parts.push(Part {
            terminals: start..middle,
            region,
            amount,
            least: part.least,
        });
        true
    }

    /// What the terminals of a part get is decided.
    fn settle(&mut self, part: &Part) {
        for terminal in &self.terminals[part.terminals.clone()] {
            self.fixed[terminal.node as usize] = self.network.settle(terminal.node);
        }
    }

    /// Makes the network one region again, in which nothing is given.
    fn unite(&mut self, classes: &Classes) {
        self.network.unite();
        for (node, &capacity) in (classes.sets().masks..).zip(&classes.capacity) {
            self.network.set_drain(node, capacity);
        }
        let nodes = self.network.nodes();
        let drains = (classes.sets().masks..).zip(classes.capacity.iter().copied());
        self.regions.unite(nodes, drains);
        self.fixed.clear();
        self.fixed.resize(nodes, 0);
        self.divided = false;
    }
}

impl Split<'_> {
    fn hand_out(&mut self, terminal: &Terminal, level: f64) {
        let children = terminal.children.clone();
        self.payout
            .hand_out(self.tree, self.group, children, level, self.out);
    }
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
