// SPDX-License-Identifier: GPL-2.0-only
//! Entitlements by definition: raise all levels together until something is
//! full, freeze what cannot rise, repeat. Slow, in floating point, and with a
//! maximum flow of its own.
//! Never uses classes, cuts or whole numbers, as the solver does.

use super::Instance;
use crate::ids::GroupId;

/// Differences below this are rounding, of bisection too.
const ROUNDING: f64 = 1e-9;

/// How much more a claim must be able to get to be called free to rise.
const RISE: f64 = 1e-7;

/// Differences below this do not keep a claim from rising: bisection may have
/// used up all that is called rounding.
const LENIENT: f64 = 1e-8;

/// A dense network: what each arc can still carry.
#[derive(Clone)]
struct Dense {
    nodes: usize,
    left: Vec<f64>,
}

impl Dense {
    fn new(nodes: usize) -> Dense {
        Dense {
            nodes,
            left: vec![0.0; nodes * nodes],
        }
    }

    fn arc(&mut self, from: usize, to: usize) -> &mut f64 {
        &mut self.left[from * self.nodes + to]
    }

    /// The maximum flow from node 0 to node 1, by shortest augmenting paths.
    fn run(&mut self) -> f64 {
        let mut total = 0.0;
        loop {
            let before = self.search(&[0], 1e-13);
            if before[1] == usize::MAX {
                return total;
            }
            let mut amount = f64::INFINITY;
            let mut at = 1;
            while at != 0 {
                amount = amount.min(*self.arc(before[at], at));
                at = before[at];
            }
            at = 1;
            while at != 0 {
                *self.arc(before[at], at) -= amount;
                *self.arc(at, before[at]) += amount;
                at = before[at];
            }
            total += amount;
        }
    }

    /// The node before each on a shortest way from one of `from`, over arcs
    /// that can carry more than `least`. `usize::MAX`: there is no way.
    fn search(&self, from: &[usize], least: f64) -> Vec<usize> {
        let mut before = vec![usize::MAX; self.nodes];
        let mut queue = from.to_vec();
        for &node in from {
            before[node] = node;
        }
        let mut at = 0;
        while let Some(&node) = queue.get(at) {
            at += 1;
            let left = &self.left[node * self.nodes..][..self.nodes];
            for (to, before) in before.iter_mut().enumerate() {
                if *before == usize::MAX && left[to] > least {
                    *before = node;
                    queue.push(to);
                }
            }
        }
        before
    }
}

/// A child of a group: a task or a group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Child {
    Task(usize),
    Group(usize),
}

/// What the oracle says.
pub(super) struct Verdict {
    pub shares: Vec<f64>,
    /// What each group gets.
    pub totals: Vec<f64>,
    pub wanted: Vec<bool>,
    /// Σ of what can be given.
    pub most: f64,
}

struct Oracle<'a> {
    instance: &'a Instance,
    /// Source, drain, CPUs, tasks, groups: no arcs from the source.
    network: Dense,
    /// What each task and each group could use.
    task_demand: Vec<f64>,
    group_demand: Vec<f64>,
    /// What each got; `None`: that is not decided.
    task_share: Vec<Option<f64>>,
    group_total: Vec<Option<f64>>,
    /// The groups that have handed on what they got.
    done: Vec<bool>,
}

/// Solves an instance whose tree is in order and whose numbers make sense.
pub(super) fn judge(instance: &Instance) -> Verdict {
    let mut oracle = Oracle::new(instance);
    let most = oracle.root_total();
    oracle.group_total[0] = Some(most);
    let mut order: Vec<usize> = (0..instance.groups.len()).collect();
    order.sort_by_key(|&group| depth(instance, group));
    for group in order {
        oracle.split(group);
    }
    Verdict {
        shares: oracle
            .task_share
            .iter()
            .map(|share| share.unwrap())
            .collect(),
        totals: oracle
            .group_total
            .iter()
            .map(|total| total.unwrap())
            .collect(),
        wanted: oracle.wanted(),
        most,
    }
}

fn depth(instance: &Instance, group: usize) -> usize {
    match group {
        0 => 0,
        _ => 1 + depth(instance, instance.groups[group].parent.index()),
    }
}

impl<'a> Oracle<'a> {
    fn new(instance: &'a Instance) -> Oracle<'a> {
        let (tasks, groups) = (instance.tasks.len(), instance.groups.len());
        let mut oracle = Oracle {
            instance,
            network: Dense::new(2 + instance.cpus.len() + tasks + groups),
            task_demand: instance.tasks.iter().map(|task| task.demand).collect(),
            group_demand: vec![0.0; groups],
            task_share: vec![None; tasks],
            group_total: vec![None; groups],
            done: vec![false; groups],
        };
        for (task, claim) in instance.tasks.iter().enumerate() {
            let may = |cpu: &usize| instance.masks.contains(claim.mask, instance.cpus[*cpu].cpu);
            let cpus: Vec<usize> = (0..instance.cpus.len()).filter(may).collect();
            if cpus.is_empty() {
                oracle.task_demand[task] = 0.0;
            }
            for cpu in cpus {
                let node = oracle.node(Child::Task(task));
                *oracle.network.arc(node, 2 + cpu) = 1e9;
            }
        }
        for (cpu, capacity) in instance.cpus.iter().enumerate() {
            *oracle.network.arc(2 + cpu, 1) = capacity.capacity;
        }
        oracle.add_up(0);
        for group in 0..groups {
            for child in oracle.children(group) {
                let (from, to) = (oracle.node(Child::Group(group)), oracle.node(child));
                *oracle.network.arc(from, to) = oracle.demand(child);
            }
        }
        oracle
    }

    fn node(&self, child: Child) -> usize {
        let tasks = 2 + self.instance.cpus.len();
        match child {
            Child::Task(task) => tasks + task,
            Child::Group(group) => tasks + self.instance.tasks.len() + group,
        }
    }

    fn children(&self, group: usize) -> Vec<Child> {
        let id = GroupId(group as u32);
        let tasks = (0..self.instance.tasks.len()).filter(|&t| self.instance.tasks[t].group == id);
        let groups =
            (1..self.instance.groups.len()).filter(|&g| self.instance.groups[g].parent == id);
        tasks
            .map(Child::Task)
            .chain(groups.map(Child::Group))
            .collect()
    }

    fn add_up(&mut self, group: usize) -> f64 {
        let mut sum = 0.0;
        for child in self.children(group) {
            sum += match child {
                Child::Task(task) => self.task_demand[task],
                Child::Group(group) => self.add_up(group),
            };
        }
        self.group_demand[group] = sum.min(self.instance.groups[group].quota);
        self.group_demand[group]
    }

    fn demand(&self, child: Child) -> f64 {
        match child {
            Child::Task(task) => self.task_demand[task],
            Child::Group(group) => self.group_demand[group],
        }
    }

    fn weight(&self, child: Child) -> f64 {
        match child {
            Child::Task(task) => self.instance.tasks[task].weight,
            Child::Group(group) => self.instance.groups[group].weight,
        }
    }

    fn root_total(&self) -> f64 {
        let mut network = self.network.clone();
        *network.arc(0, self.node(Child::Group(0))) = self.group_demand[0];
        network.run()
    }

    /// Everything decided and not handed on, entering where it is.
    fn fixed(&self) -> Vec<(usize, f64)> {
        let tasks = self.task_share.iter().enumerate();
        let tasks = tasks.filter_map(|(t, share)| Some((self.node(Child::Task(t)), (*share)?)));
        let groups = self
            .group_total
            .iter()
            .enumerate()
            .filter(|(g, _)| !self.done[*g]);
        let groups = groups.filter_map(|(g, total)| Some((self.node(Child::Group(g)), (*total)?)));
        tasks.chain(groups).collect()
    }

    /// Whether the children can get this beside all that is fixed.
    fn is_possible(
        &self,
        fixed: &[(usize, f64)],
        children: &[Child],
        amounts: &[f64],
        rounding: f64,
    ) -> bool {
        let mut network = self.network.clone();
        let mut sum = 0.0;
        let entering = children
            .iter()
            .map(|&child| self.node(child))
            .zip(amounts.iter().copied());
        for (node, amount) in fixed.iter().copied().chain(entering) {
            *network.arc(0, node) += amount;
            sum += amount;
        }
        network.run() >= sum - rounding
    }

    fn split(&mut self, group: usize) {
        self.done[group] = true;
        let total = self.group_total[group].unwrap();
        let fixed = self.fixed();
        let children = self.children(group);
        let mut frozen: Vec<Option<f64>> = vec![None; children.len()];
        while frozen.contains(&None) {
            let at = |level: f64| -> Vec<f64> {
                let amount = |(&child, frozen): (&Child, &Option<f64>)| {
                    frozen.unwrap_or_else(|| self.demand(child).min(level * self.weight(child)))
                };
                children.iter().zip(&frozen).map(amount).collect()
            };
            let possible = |amounts: &[f64], rounding: f64| {
                amounts.iter().sum::<f64>() <= total + rounding
                    && self.is_possible(&fixed, &children, amounts, rounding)
            };
            let amounts = at(highest(|level| possible(&at(level), ROUNDING)));
            let before = frozen.clone();
            for (place, &child) in children.iter().enumerate() {
                let mut more = amounts.clone();
                more[place] += RISE;
                let is_full = amounts[place] >= self.demand(child) - ROUNDING;
                if frozen[place].is_none() && (is_full || !possible(&more, LENIENT)) {
                    frozen[place] = Some(amounts[place]);
                }
            }
            // Rounding hides who is full: all have the highest that is possible.
            if frozen == before {
                frozen = amounts.into_iter().map(Some).collect();
            }
        }
        for (child, amount) in children.into_iter().zip(frozen) {
            match child {
                Child::Task(task) => self.task_share[task] = amount,
                Child::Group(group) => self.group_total[group] = amount,
            }
        }
    }

    /// By search from all who are hungry, in some flow of the outcome.
    fn wanted(&self) -> Vec<bool> {
        let mut network = self.network.clone();
        for (node, amount) in self.fixed() {
            *network.arc(0, node) = amount;
        }
        network.run();
        for group in 0..self.group_total.len() {
            for node in 0..network.nodes {
                *network.arc(node, self.node(Child::Group(group))) = 0.0;
            }
        }
        for node in 0..network.nodes {
            *network.arc(node, 0) = 0.0;
            *network.arc(1, node) = 0.0;
        }
        let tasks = (0..self.task_share.len()).filter(|&task| self.is_hungry(task));
        let tasks: Vec<usize> = tasks.map(|task| self.node(Child::Task(task))).collect();
        let reached = network.search(&tasks, 1e-7);
        (0..self.instance.cpus.len())
            .map(|cpu| reached[2 + cpu] != usize::MAX)
            .collect()
    }

    fn is_hungry(&self, task: usize) -> bool {
        let is_short = |got: Option<f64>, demand: f64| got.unwrap() < demand - 1e-7;
        let mut hungry = is_short(self.task_share[task], self.task_demand[task]);
        let mut group = self.instance.tasks[task].group.index();
        loop {
            hungry &= is_short(self.group_total[group], self.group_demand[group]);
            if group == 0 {
                return hungry;
            }
            group = self.instance.groups[group].parent.index();
        }
    }
}

/// The highest level that is possible, by bisection. 2 CPUs for a weight of
/// 0.5 are more than anybody wants.
fn highest(possible: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 16.0);
    if possible(high) {
        return high;
    }
    for _ in 0..46 {
        let middle = 0.5 * (low + high);
        if possible(middle) {
            low = middle
        } else {
            high = middle
        }
    }
    low
}
