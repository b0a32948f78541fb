// SPDX-License-Identifier: GPL-2.0-only
//! The balancer of scx_rusty 1.1.4, from the description at the head of its
//! source and its published thresholds. Never meant to run: it is compared with.
//!
//! Load is runnable time, with waiting, times weight; weights count in buckets
//! of 100 and only while the machine is full; every domain and every node is to
//! have the same load. Nodes come first (one task for each pair of nodes a
//! round), then the domains of each node.

use scx_ballast::load_balance::{Snapshot, Task};
use scx_utils::LoadAggregator;

/// Off by more than this part of the mean, a domain or node is balanced.
const DOMAIN_COST: f64 = 0.05;
const NODE_COST: f64 = 0.17;
/// Part of the smaller of two imbalances that a task should carry over.
const TRANSFER: f64 = 0.5;
/// Part of its imbalance that a domain or node pushes in one round.
const PUSH_MOST: f64 = 0.5;
const BUCKET: f64 = 100.0;

/// A task to move, by its place in the snapshot, and the domain it goes to.
pub type Step = (usize, usize);

/// One round. `runnable` is each task's part of the time run or waited; `full`
/// says that the machine has no idle time.
pub fn round(snapshot: &Snapshot, runnable: &[f64], full: bool) -> Vec<Step> {
    let loads = loads(snapshot, runnable, full);
    let mut board = Board::new(snapshot, loads);
    board.between_nodes();
    board.within_nodes();
    board.steps
}

/// What each task counts for.
fn loads(snapshot: &Snapshot, runnable: &[f64], full: bool) -> Vec<f64> {
    if !full {
        return runnable.to_vec();
    }
    let cpus: f64 = snapshot.domains.iter().map(|domain| domain.capacity).sum();
    let mut aggregator = LoadAggregator::new(cpus.round() as usize, false);
    let mut buckets = std::collections::BTreeMap::<(usize, usize), f64>::new();
    for (task, runnable) in snapshot.tasks.iter().zip(runnable) {
        let weight = (task.weight / BUCKET).floor() * BUCKET + BUCKET / 2.0 + 1.0;
        *buckets
            .entry((task.domain.index(), weight as usize))
            .or_default() += runnable;
    }
    for ((domain, weight), runnable) in buckets {
        // Each pair is recorded once, with a weight above 0.
        let _ = aggregator.record_dom_load(domain, weight, runnable);
    }
    let most = aggregator.calculate().effective_max_weight();
    let load = |(task, runnable): (&Task, &f64)| task.weight.min(most) * runnable;
    snapshot.tasks.iter().zip(runnable).map(load).collect()
}

struct Board<'a> {
    snapshot: &'a Snapshot,
    loads: Vec<f64>,
    place: Vec<usize>,
    moved: Vec<bool>,
    domains: Vec<f64>,
    steps: Vec<Step>,
}

impl<'a> Board<'a> {
    fn new(snapshot: &'a Snapshot, loads: Vec<f64>) -> Self {
        let place: Vec<usize> = snapshot
            .tasks
            .iter()
            .map(|task| task.domain.index())
            .collect();
        let mut domains = vec![0.0; snapshot.domains.len()];
        for (&place, load) in place.iter().zip(&loads) {
            domains[place] += load;
        }
        Board {
            snapshot,
            moved: vec![false; loads.len()],
            loads,
            place,
            domains,
            steps: Vec::new(),
        }
    }

    fn members(&self) -> Vec<Vec<usize>> {
        let mut nodes = std::collections::BTreeMap::<_, Vec<usize>>::new();
        for (place, domain) in self.snapshot.domains.iter().enumerate() {
            nodes.entry(domain.node).or_default().push(place);
        }
        nodes.into_values().collect()
    }

    fn load(&self, domains: &[usize]) -> f64 {
        domains.iter().map(|&domain| self.domains[domain]).sum()
    }

    fn between_nodes(&mut self) {
        let nodes = self.members();
        let total: f64 = self.domains.iter().sum();
        let mean = total / nodes.len() as f64;
        let domain_mean = total / self.domains.len() as f64;
        for (from, to) in pairs(&nodes, |node| self.load(node) - mean, NODE_COST * mean) {
            let room = (self.load(&nodes[from]) - mean).min(mean - self.load(&nodes[to]));
            let by_load = |a: &&usize, b: &&usize| self.domains[**a].total_cmp(&self.domains[**b]);
            let giver = nodes[from].iter().max_by(by_load).copied();
            let taker = nodes[to].iter().min_by(by_load).copied();
            if let (Some(giver), Some(taker)) = (giver, taker) {
                self.push_one(giver, taker, TRANSFER * room, domain_mean);
            }
        }
    }

    fn within_nodes(&mut self) {
        for node in self.members() {
            let mean = self.load(&node) / node.len() as f64;
            let singles: Vec<Vec<usize>> = node.iter().map(|&domain| vec![domain]).collect();
            let pairs = pairs(&singles, |one| self.load(one) - mean, DOMAIN_COST * mean);
            for (from, to) in pairs {
                self.push_many(node[from], node[to], mean);
            }
        }
    }

    fn push_many(&mut self, from: usize, to: usize, mean: f64) {
        let most = PUSH_MOST * (self.domains[from] - mean);
        let mut pushed = 0.0;
        while pushed < most {
            let (over, under) = (self.domains[from] - mean, mean - self.domains[to]);
            if over.min(under) <= DOMAIN_COST * mean {
                return;
            }
            match self.push_one(from, to, TRANSFER * over.min(under), mean) {
                Some(load) => pushed += load,
                None => return,
            }
        }
    }

    /// Moves the task whose load is closest to `wanted`, if that leaves the two
    /// domains less far off than before.
    fn push_one(&mut self, from: usize, to: usize, wanted: f64, mean: f64) -> Option<f64> {
        let off = |load: f64| (load - mean).abs();
        let candidates = (0..self.loads.len())
            .filter(|&task| self.place[task] == from && !self.moved[task])
            .filter(|&task| self.may_use(task, to));
        let distance = |task: &usize| (self.loads[*task] - wanted).abs();
        let task = candidates.min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
        let load = self.loads[task];
        let (giver, taker) = (self.domains[from], self.domains[to]);
        if off(giver - load) + off(taker + load) > off(giver) + off(taker) {
            return None;
        }
        self.domains[from] -= load;
        self.domains[to] += load;
        self.place[task] = to;
        self.moved[task] = true;
        self.steps.push((task, to));
        Some(load)
    }

    fn may_use(&self, task: usize, to: usize) -> bool {
        let mask = self.snapshot.tasks[task].mask;
        let mut cpus = self.snapshot.domains[to].cpus.iter();
        cpus.any(|&cpu| self.snapshot.masks.contains(mask, cpu))
    }
}

/// Pairs of members, one above the mean by more than `cost` and one below it,
/// furthest off first.
fn pairs(
    members: &[Vec<usize>],
    imbalance: impl Fn(&Vec<usize>) -> f64,
    cost: f64,
) -> Vec<(usize, usize)> {
    let mut order: Vec<(f64, usize)> = members.iter().map(imbalance).zip(0..).collect();
    order.sort_by(|a, b| b.0.total_cmp(&a.0));
    let over = order.iter().filter(|(off, _)| *off > cost);
    let under = || order.iter().rev().filter(|(off, _)| *off < -cost);
    over.flat_map(|&(_, from)| under().map(move |&(_, to)| (from, to)))
        .collect()
}
