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
    are_linked: bool,
    /// Processes are numbered in the order of their first threads with a share.
    numbers: FxHashMap<u32, u32>,
    /// Of each thread, its process, or [`NOBODY`] if it has no share.
    of: Vec<u32>,
    /// Of each thread, the one before it of its process, or [`NOBODY`].
    before: Vec<u32>,
    /// Of each process, its last thread.
    last: Vec<u32>,
    /// Of each process, whether it is known where it is, and where: domain and
    /// CPUs, every domain once; nothing if it has one thread.
    gathered: Vec<bool>,
    homes: Vec<Vec<(usize, f64)>>,
}

impl Processes {
    /// Nothing is known.
    pub fn forget(&mut self) {
        self.are_linked = false;
    }

    /// Whether it is known who the threads of each process are.
    pub fn are_linked(&self) -> bool {
        self.are_linked
    }

    /// Links the threads of each process. `threads`: process and share of each.
    pub fn link(&mut self, threads: impl Iterator<Item = (u32, f64)>) {
        self.are_linked = true;
        for list in [&mut self.of, &mut self.before, &mut self.last] {
            list.clear();
        }
        self.numbers.clear();
        // Threads of a process often follow each other, which spares the map.
        let mut open: Option<(u32, u32)> = None;
        for (thread, (process, share)) in (0u32..).zip(threads) {
            if share < LEAST {
                self.of.push(NOBODY);
                self.before.push(NOBODY);
                continue;
            }
            let number = match open {
                Some((of, number)) if of == process => number,
                _ => *self.numbers.entry(process).or_insert_with(|| {
                    self.last.push(NOBODY);
                    self.last.len() as u32 - 1
                }),
            };
            open = Some((process, number));
            self.of.push(number);
            let last = &mut self.last[number as usize];
            self.before.push(std::mem::replace(last, thread));
        }
        self.gathered.clear();
        self.gathered.resize(self.last.len(), false);
        if self.homes.len() < self.last.len() {
            self.homes.resize(self.last.len(), Vec::new());
        }
    }

    /// The number of the process of a thread with a share.
    fn number(&self, thread: u32) -> Option<usize> {
        let number = *self.of.get(thread as usize)?;
        (number != NOBODY).then_some(number as usize)
    }

    /// Finds out where the threads of the process of this one are, unless that is
    /// known. `find` tells domain and share of a thread, if it is anywhere.
    pub fn gather(&mut self, thread: u32, find: impl Fn(u32) -> Option<(usize, f64)>) {
        let Some(number) = self.number(thread) else {
            return;
        };
        if std::mem::replace(&mut self.gathered[number], true) {
            return;
        }
        let before = |&thread: &u32| Some(self.before[thread as usize]).filter(|&t| t != NOBODY);
        let last = self.last[number];
        let several = before(&last).is_some();
        let threads = std::iter::successors(several.then_some(last), before);
        let homes = &mut self.homes[number];
        homes.clear();
        homes.extend(threads.filter_map(find));
        homes.sort_by_key(|&(domain, _)| domain);
        homes.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            kept.1 += if same { later.1 } else { 0.0 };
            same
        });
    }

    /// Where the process of a thread is, if it has several and that is known.
    fn homes(&self, thread: u32) -> Option<usize> {
        let number = self.number(thread).filter(|_| self.are_linked)?;
        (self.gathered[number] && !self.homes[number].is_empty()).then_some(number)
    }

    /// A thread goes from one domain to another.
    pub fn carry(&mut self, thread: u32, share: f64, from: usize, to: usize) {
        let Some(number) = self.homes(thread) else {
            return;
        };
        let homes = &mut self.homes[number];
        for (domain, share) in [(from, -share), (to, share)] {
            match homes.iter_mut().find(|home| home.0 == domain) {
                Some(home) => home.1 += share,
                None => homes.push((domain, share)),
            }
        }
    }

    /// CPUs of the process near `from` less CPUs of it near `to`, this thread of
    /// it, with this share at `from`, left out: what moving it would tear apart.
    /// Near is the domain for a move inside a node, the node for others.
    pub fn torn(&self, thread: u32, share: f64, machine: &Machine, from: usize, to: usize) -> f64 {
        let Some(number) = self.homes(thread) else {
            return 0.0;
        };
        let homes = &self.homes[number];
        let (near_from, near_to) = match (machine.node(from), machine.node(to)) {
            (a, b) if a == b => near(homes, from, to, |domain| domain),
            (from, to) => near(homes, from, to, |domain| machine.node(domain)),
        };
        near_from - share - near_to
    }
}

/// CPUs of a process at each of two places.
fn near(
    homes: &[(usize, f64)],
    from: usize,
    to: usize,
    place: impl Fn(usize) -> usize,
) -> (f64, f64) {
    let (mut near_from, mut near_to) = (0.0, 0.0);
    for &(domain, cpus) in homes {
        // It mostly is at neither: that is foreseen, and nothing waits for a sum.
        let at = place(domain);
        if at == from {
            near_from += cpus;
        } else if at == to {
            near_to += cpus;
        }
    }
    (near_from, near_to)
}
