// SPDX-License-Identifier: GPL-2.0-only
//! Splits what a group got among its children where masks stand in the way.
//! Never decides what the group gets.

use std::ops::Range;

use super::Problem;
use super::arcs::Arcs;
use super::bare::add_classes;
use super::classes::Classes;
use super::fill::{Claim, Filler, entitlement};
use super::flow::{Carries, Network};
use super::ladder::Ladder;
use super::payout::Payout;
use super::regions::Regions;
use super::terminal::{Terminal, demand, list_terminals, satisfy};
use super::tree::{MIXED, Tree};
use super::units::{cpus, units};
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
    /// See [`slack`].
    slack: u64,
    regions: Regions,
    /// What enters at each node whatever the children of the group get.
    fixed: Vec<u64>,
    filler: Filler,
    ladder: Ladder,
    /// Children of the group; those of a part are together.
    terminals: Vec<Terminal>,
    parts: Vec<Part>,
    /// Of each run of the group, its list, or `BEYOND`; and what it gets, in CPUs.
    list_of: Vec<u32>,
    amount_of: Vec<f64>,
    /// The children of the group that are not beyond a cut, each with its run, the
    /// first of the group being 0; and how many there are in each list.
    here: Vec<(u32, Claim)>,
    sizes: Vec<u32>,
    /// The groups in the group that come to its place in the network, as nodes.
    heirs: Vec<u32>,
    arcs: Arcs,
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

/// No list: the run is beyond a cut.
const BEYOND: u32 = u32::MAX;

/// How a group is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As if no mask stood in the way.
    Free,
    /// As if no other mask stood in the way than those of regions that are cut off.
    Foreseen,
    /// As the CPUs can carry it.
    Exact,
}

impl Confined {
    /// Gets ready for the groups of a problem.
    pub fn begin(&mut self, tree: &Tree, payout: &Payout) {
        self.slack = slack(tree, payout);
    }

    /// Builds the network: from groups to mask classes, from mask classes to classes of
    /// CPUs. The nodes are those of `payout`.
    ///
    /// As long as a group is not split, those in it are no part of the network, but if
    /// a quota stands in their way: arcs lead from the group to where their tasks are.
    pub fn build(&mut self, tree: &Tree, classes: &Classes, payout: &Payout) {
        let nodes = payout.given.len();
        self.clear(classes, nodes);
        self.flat_version = 0;
        self.arcs.clear(nodes);
        for &group in &tree.upwards {
            let group = group as usize;
            if group != 0 && tree.class[group] == MIXED {
                let node = payout.node[group];
                for &(to, capacity) in self.arcs.list(tree, payout, group) {
                    self.network.add(node, to, capacity);
                }
            }
        }
        self.network.connect();
    }

    /// Builds the network of mask classes and classes of CPUs, for tasks in one
    /// group.
    pub fn build_flat(&mut self, problem: &Problem<'_>, classes: &Classes) {
        if self.flat_version != classes.version {
            self.clear(classes, classes.sets().masks + classes.capacity.len());
            self.network.connect();
            self.flat_version = classes.version;
        }
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
                run: class,
                list: class,
                demand: units(ladder.demand(class)),
                level: 0.0,
                amount: 0,
            }));
    }

    /// Starts a network, with arcs from mask classes to their classes of CPUs.
    fn clear(&mut self, classes: &Classes, nodes: usize) {
        self.network.clear(nodes);
        add_classes(&mut self.network, classes);
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

    /// Splits what a group that is `MIXED` got. Returns the highest level among those
    /// who have CPUs to themselves.
    pub fn split(&mut self, tree: &Tree, group: usize, way: Way, payout: &mut Payout) -> f64 {
        list_terminals(tree, payout, group, &mut self.terminals);
        self.list_of.clear();
        self.list_of.resize(self.terminals.len(), 0);
        let mut part = Part {
            terminals: 0..self.terminals.len(),
            region: 0,
            amount: units(payout.total[group]),
            least: 0.0,
        };
        if group != 0 && way != Way::Free {
            let node = payout.node[group];
            part.region = self.network.region(node);
            if way == Way::Exact {
                self.take_out(tree, group, payout);
            }
            let first = tree.runs_of(group).start;
            let beyond = self.give_beyond(tree, node, first);
            part.terminals.end = self.terminals.len() - beyond.0;
            part.amount = part.amount.saturating_sub(beyond.1);
        }
        let level = self.first_level(&part, tree, group);
        let highest = match way {
            Way::Exact => self.divide_as_needed(&part, level, tree, group),
            Way::Free | Way::Foreseen => level,
        };
        for terminal in &self.terminals {
            payout.give(tree, terminal.run, terminal.level, terminal.amount);
        }
        highest
    }

    /// Settles a part at a level, or, if its CPUs cannot carry that, other parts at
    /// others. Returns what [`Confined::split`] does.
    fn divide_as_needed(&mut self, part: &Part, level: f64, tree: &Tree, group: usize) -> f64 {
        self.parts.clear();
        let highest = self.apply(part, level);
        if self.parts.is_empty() {
            return highest;
        }
        self.climb(part.terminals.clone(), tree, group);
        highest.max(self.decide())
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
    fn climb(&mut self, terminals: Range<usize>, tree: &Tree, group: usize) {
        let first = tree.runs_of(group).start;
        self.sizes.clear();
        for (list, terminal) in self.terminals[terminals].iter_mut().enumerate() {
            terminal.list = list;
            self.list_of[terminal.run - first] = list as u32;
            self.sizes.push(tree.runs[terminal.run].len);
        }
        let list_of = &self.list_of;
        let claims = self.here.iter();
        let claims = claims.map(|&(run, claim)| (list_of[run as usize] as usize, claim));
        self.ladder.build(claims, &self.sizes);
    }

    /// Takes a group out of the network: the groups in it come to its place.
    fn take_out(&mut self, tree: &Tree, group: usize, payout: &Payout) {
        let node = payout.node[group];
        let region = self.network.region(node);
        self.heirs.clear();
        let heirs = self.terminals.iter();
        let heirs = heirs.filter(|terminal| tree.is_open_group(terminal.run));
        self.heirs.extend(heirs.map(|terminal| terminal.node));
        for &heir in &self.heirs {
            self.regions
                .transfer(heir, self.network.region(heir), region);
        }
        self.fixed[node as usize] = 0;
        self.network.hand_on(node, &self.heirs);
        self.regions.retire(region, node);
    }

    /// Gives terminals beyond cuts what they get, and puts them after the others.
    /// Returns how many they are and what they got.
    fn give_beyond(&mut self, tree: &Tree, node: u32, first_run: usize) -> (usize, u64) {
        let (mut here, mut given) = (0, 0);
        let mut arcs = self.network.arcs_from(node);
        for at in 0..self.terminals.len() {
            let terminal = &mut self.terminals[at];
            let carries = if terminal.demand == 0 {
                Carries::All
            } else if tree.is_open_group(terminal.run) {
                self.network.carries(terminal.node)
            } else {
                let mut arcs = arcs.by_ref().filter(|(to, _)| *to == terminal.node);
                arcs.next().map_or(Carries::Some, |(_, carries)| carries)
            };
            (terminal.level, terminal.amount) = match carries {
                Carries::All => (f64::INFINITY, terminal.demand),
                Carries::Nothing => (0.0, 0),
                Carries::Some => {
                    self.terminals.swap(here, at);
                    here += 1;
                    continue;
                }
            };
            // It enters at the node already, or leaves there.
            given += terminal.amount;
            self.list_of[terminal.run - first_run] = BEYOND;
        }
        (self.terminals.len() - here, given)
    }

    /// Lists the children of a group that are not beyond a cut.
    fn find_here(&mut self, tree: &Tree, group: usize) {
        let first = tree.runs_of(group).start;
        let children = tree.in_runs(group);
        self.here.resize(children.len(), (0, Claim::NONE));
        let mut count = 0;
        for (run, claim) in children {
            let run = run - first;
            // Without a branch, which could not be predicted.
            self.here[count] = (run as u32, claim);
            count += usize::from(self.list_of[run] != BEYOND);
        }
        self.here.truncate(count);
    }

    /// As [`Confined::level`], of claims that are not sorted: most groups need
    /// no other level.
    fn first_level(&mut self, part: &Part, tree: &Tree, group: usize) -> f64 {
        if demand(&self.terminals[part.terminals.clone()]) <= part.amount + self.slack {
            return satisfy(&mut self.terminals[part.terminals.clone()]);
        }
        self.find_here(tree, group);
        let first = tree.runs_of(group).start;
        let terminals = &mut self.terminals[part.terminals.clone()];
        let claims = self.here.iter().map(|&(_, claim)| claim);
        let level = self.filler.level(claims, cpus(part.amount)).level;
        if level.is_infinite() {
            return satisfy(terminals);
        }
        self.amount_of.clear();
        self.amount_of.resize(self.list_of.len(), 0.0);
        for &(run, claim) in &self.here {
            self.amount_of[run as usize] += entitlement(claim, level);
        }
        for terminal in terminals {
            let amount = units(self.amount_of[terminal.run - first]);
            terminal.level = level;
            terminal.amount = amount.min(terminal.demand);
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
        let others = self.regions.of(part.region);
        let leaving = self.network.cut(short, others, region, &mut self.fixed);
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

/// Amounts that differ by no more are equal: every child and every node may have lost
/// a unit to rounding.
pub(super) fn slack(tree: &Tree, payout: &Payout) -> u64 {
    (tree.nr_children() + payout.given.len()) as u64
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
