// SPDX-License-Identifier: GPL-2.0-only
//! Where the threads of each process are: what a move would tear apart.
//! Never knows what a move would mend.

// Not std's hasher: the keys are ours, and there are two for every thread.
use rustc_hash::FxHashMap;

use super::board::LEAST;
use super::machine::Machine;

/// No thread.
const NOBODY: u32 = u32::MAX;

/// CPUs of each process of several threads in each domain and on each node, as
/// far as anybody has asked: few plans look at more than some of the processes.
#[derive(Debug, Default)]
pub(super) struct Processes {
    /// The last thread with a share of each process; once all are linked.
    last: FxHashMap<u32, u32>,
    /// Of each thread, the one before it of its process, or [`NOBODY`].
    before: Vec<u32>,
    are_linked: bool,
    /// Processes that were gathered, and whether they have several threads.
    several: FxHashMap<u32, bool>,
    by_domain: FxHashMap<(u32, usize), f64>,
    by_node: FxHashMap<(u32, usize), f64>,
}

impl Processes {
    /// Nothing is known.
    pub fn forget(&mut self) {
        self.are_linked = false;
        self.several.clear();
        self.by_domain.clear();
        self.by_node.clear();
    }

    /// Whether it is known who the threads of each process are.
    pub fn are_linked(&self) -> bool {
        self.are_linked
    }

    /// Links the threads of each process. `threads`: process and share of each.
    pub fn link(&mut self, threads: impl Iterator<Item = (u32, f64)>) {
        self.are_linked = true;
        self.last.clear();
        self.before.clear();
        // Threads of a process often follow each other, which spares the map.
        let mut open: Option<(u32, u32)> = None;
        for (number, (process, share)) in (0u32..).zip(threads) {
            let mut before = NOBODY;
            if share >= LEAST {
                before = match open {
                    Some((of, last)) if of == process => last,
                    _ => {
                        self.last.extend(open);
                        self.last.get(&process).copied().unwrap_or(NOBODY)
                    }
                };
                open = Some((process, number));
            }
            self.before.push(before);
        }
        self.last.extend(open);
    }

    /// Finds out where the threads of a process are, unless that is known.
    /// `find` tells domain, node and share of a thread, if it is anywhere.
    pub fn gather(&mut self, process: u32, find: impl Fn(u32) -> Option<(usize, usize, f64)>) {
        if self.several.contains_key(&process) {
            return;
        }
        let before = |thread: u32| self.before[thread as usize];
        let mut thread = self.last.get(&process).copied().unwrap_or(NOBODY);
        let several = thread != NOBODY && before(thread) != NOBODY;
        self.several.insert(process, several);
        while several && thread != NOBODY {
            if let Some((domain, node, share)) = find(thread) {
                self.add(process, domain, node, share);
            }
            thread = self.before[thread as usize];
        }
    }

    fn has_several(&self, process: u32) -> bool {
        self.several.get(&process).is_some_and(|&several| several)
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
