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
    /// Domain and CPUs of each process that was gathered, every domain once;
    /// nothing if it has one thread. Short lists beat a map by process and domain.
    homes: FxHashMap<u32, Vec<(usize, f64)>>,
}

impl Processes {
    /// Nothing is known.
    pub fn forget(&mut self) {
        self.are_linked = false;
        self.homes.clear();
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
    /// `find` tells domain and share of a thread, if it is anywhere.
    pub fn gather(&mut self, process: u32, find: impl Fn(u32) -> Option<(usize, f64)>) {
        let Processes { last, before, .. } = self;
        self.homes.entry(process).or_insert_with(|| {
            let before = |&thread: &u32| Some(before[thread as usize]).filter(|&t| t != NOBODY);
            let last = last.get(&process).copied();
            let several = last.as_ref().is_some_and(|last| before(last).is_some());
            let threads = std::iter::successors(last.filter(|_| several), before);
            let mut homes: Vec<(usize, f64)> = threads.filter_map(find).collect();
            homes.sort_by_key(|&(domain, _)| domain);
            homes.dedup_by(|later, kept| {
                let same = later.0 == kept.0;
                kept.1 += if same { later.1 } else { 0.0 };
                same
            });
            homes
        });
    }

    /// A thread of a process goes from one domain to another.
    pub fn carry(&mut self, process: u32, share: f64, from: usize, to: usize) {
        let Some(homes) = self.homes.get_mut(&process) else {
            return;
        };
        if share < LEAST || homes.is_empty() {
            return;
        }
        for (domain, share) in [(from, -share), (to, share)] {
            match homes.iter_mut().find(|home| home.0 == domain) {
                Some(home) => home.1 += share,
                None => homes.push((domain, share)),
            }
        }
    }

    /// CPUs of the process near `from` less CPUs of it near `to`, a thread with
    /// this share at `from` left out: what moving it would tear apart. Near is
    /// the domain for a move inside a node, the node for others.
    pub fn torn(&self, process: u32, share: f64, machine: &Machine, from: usize, to: usize) -> f64 {
        let homes = self.homes.get(&process).filter(|homes| !homes.is_empty());
        let Some(homes) = homes else { return 0.0 };
        let same_node = machine.node(from) == machine.node(to);
        let near = |place: usize| -> f64 {
            let is_near = |domain: usize| match same_node {
                true => domain == place,
                false => machine.node(domain) == machine.node(place),
            };
            let near = homes.iter().filter(|home| is_near(home.0));
            near.map(|home| home.1).sum()
        };
        near(from) - share - near(to)
    }
}
