// SPDX-License-Identifier: GPL-2.0-only
//! The network of mask classes and classes of CPUs alone: whether the CPUs can carry
//! what was given.
//! Never decides who gets what.

use super::classes::Classes;
use super::flow::Network;
use super::units::UNBOUNDED;

/// The network, kept as long as the classes are the same.
#[derive(Debug, Default)]
pub(super) struct Bare {
    network: Network,
    /// The version of the classes that it is of.
    version: u64,
    /// Whether it holds a flow with the capacities of this problem.
    has_flow: bool,
    /// All of its nodes, as bits.
    all: Vec<u64>,
}

impl Bare {
    /// Gets ready for a problem: capacities may have changed.
    pub fn begin(&mut self) {
        self.has_flow = false;
    }

    /// Whether the CPUs can carry what was given at each mask class, in units, but for
    /// `slack`.
    pub fn carries(&mut self, classes: &Classes, given: &[u64], slack: u64) -> bool {
        let sets = classes.sets();
        if self.version != classes.version {
            self.connect(classes);
        }
        if !std::mem::replace(&mut self.has_flow, true) {
            self.network.unite();
            for (node, &capacity) in (sets.masks..).zip(&classes.capacity) {
                self.network.set_drain(node, capacity);
            }
        }
        let masks = 0..sets.masks as u32;
        for (node, &given) in masks.clone().zip(given) {
            self.network.set_supply(node, given);
        }
        self.network.run(&self.all, masks) <= slack
    }

    fn connect(&mut self, classes: &Classes) {
        let nodes = classes.sets().masks + classes.capacity.len();
        self.network.clear(nodes);
        add_classes(&mut self.network, classes);
        self.network.connect();
        self.version = classes.version;
        self.all.clear();
        self.all.resize(nodes.div_ceil(64), 0);
        for node in 0..nodes {
            self.all[node / 64] |= 1 << (node % 64);
        }
    }

    /// As [`Network::spread`], in the last flow.
    pub fn spread(&mut self, marked: &mut [bool], least: u64) {
        self.network.spread(marked, least);
    }
}

/// Adds arcs from mask classes to their classes of CPUs.
pub(super) fn add_classes(network: &mut Network, classes: &Classes) {
    let sets = classes.sets();
    for class in 0..sets.masks {
        for &cpus in sets.reach(class) {
            network.add(class as u32, sets.masks as u32 + cpus, UNBOUNDED);
        }
    }
}
