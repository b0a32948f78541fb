// SPDX-License-Identifier: GPL-2.0-only
//! Where the threads of each process are: what a move would tear apart.
//! Never knows what a move would mend.

// Not std's hasher: the keys are ours, and there are two for every thread.
use rustc_hash::FxHashMap;

use super::board::{Item, LEAST};
use super::machine::Machine;

/// CPUs of each process of several threads in each domain and on each node.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// Threads with a share, by process.
    threads: FxHashMap<u32, u32>,
    by_domain: FxHashMap<(u32, usize), f64>,
    by_node: FxHashMap<(u32, usize), f64>,
}

impl Processes {
    /// No process is anywhere.
    pub fn clear(&mut self) {
        self.threads.clear();
        self.by_domain.clear();
        self.by_node.clear();
    }

    /// Starts over with these tasks.
    pub fn place(&mut self, items: &[Item], machine: &Machine) {
        self.clear();
        let counts = || items.iter().filter(|item| item.share >= LEAST);
        for item in counts() {
            *self.threads.entry(item.process).or_default() += 1;
        }
        for item in counts() {
            if let Some(place) = item.place.filter(|_| self.has_several(item.process)) {
                self.add(item.process, place, machine.node(place), item.share);
            }
        }
    }

    fn has_several(&self, process: u32) -> bool {
        self.threads.get(&process).is_some_and(|&count| count > 1)
    }

    /// A thread of a process goes from one domain to another.
    pub fn carry(&mut self, process: u32, share: f64, machine: &Machine, from: usize, to: usize) {
        if share >= LEAST && self.has_several(process) {
            self.add(process, from, machine.node(from), -share);
            self.add(process, to, machine.node(to), share);
        }
    }

    fn add(&mut self, process: u32, domain: usize, node: usize, share: f64) {
        *self.by_domain.entry((process, domain)).or_default() += share;
        *self.by_node.entry((process, node)).or_default() += share;
    }

    /// CPUs of the process near `from` less CPUs of it near `to`, a thread with
    /// this share at `from` left out: what moving it would tear apart. Near is
    /// the domain for a move inside a node, the node for others.
    pub fn torn(&self, process: u32, share: f64, machine: &Machine, from: usize, to: usize) -> f64 {
        if !self.has_several(process) {
            return 0.0;
        }
        let (from_node, to_node) = (machine.node(from), machine.node(to));
        let near = |place: usize, node: usize| {
            let found = match from_node == to_node {
                true => self.by_domain.get(&(process, place)),
                false => self.by_node.get(&(process, node)),
            };
            found.copied().unwrap_or(0.0)
        };
        near(from, from_node) - share - near(to, to_node)
    }
}
