// SPDX-License-Identifier: GPL-2.0-only
//! The balancer: which tasks to move so that every domain can pay what it owes.
//! Never touches the clock, the kernel or any other I/O: a pure function.
//!
//! Every task has an entitlement c in CPUs (see [`crate::entitlement`]). If
//! the entitlements of each domain's tasks add up to its capacity, fair
//! scheduling inside the domains is fair scheduling of the machine. The gap of
//! a domain is that sum less the capacity. While the machine is limited
//! (Σd > P) a domain should have no gap of either sign; otherwise no positive
//! one, and any room left is as good as any other.
//!
//! A move of c from a gap `over` into room `under` reduces what is wrong by
//! min(c, over, under, over + under − c): nothing is moved unless that is
//! positive for the two domains, which makes the sum of the gaps a potential
//! that every step lowers. So planning ends, and planning on the outcome of a
//! plan that was not cut short (by `max_moves` or `max_looks`) finds nothing to do.
//!
//! `settle` does this for any partition of the domains: the nodes first, then
//! the domains of each node, then, for what these leave, all domains.

mod board;
mod certificate;
mod choose;
mod reach;
mod settle;

use std::collections::{BTreeMap, BTreeSet};

use crate::affinity::MaskTable;
use crate::entitlement::{CpuCapacity, Entitlements, Group, Problem, Solver, TaskClaim};
use crate::ids::{CpuId, DomainId, GroupId, MaskId, NodeId, TaskRef};
use board::Board;
use choose::Search;
use settle::{Member, Pass, settle};

/// The machine and its tasks at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Nodes, with or without CPUs, in any order.
    pub nodes: Vec<Node>,
    /// Domains; their ids are 0, 1, 2, …
    pub domains: Vec<Domain>,
    /// The sets of CPUs that tasks are confined to.
    pub masks: MaskTable,
    /// Control groups, the root first; none: only the root.
    pub groups: Vec<Group>,
    /// Tasks, in any order.
    pub tasks: Vec<Task>,
}

/// A NUMA node.
#[derive(Clone, Debug)]
pub struct Node {
    /// The node.
    pub id: NodeId,
    /// SLIT distances, 10 for the node itself. A missing remote one counts as
    /// 20, the kernel's default.
    pub distance: BTreeMap<NodeId, u32>,
}

/// A domain.
#[derive(Clone, Debug)]
pub struct Domain {
    /// The domain.
    pub id: DomainId,
    /// The node its CPUs belong to.
    pub node: NodeId,
    /// CPUs it can hand out, evenly spread over `cpus`. 0 (or not a number):
    /// its tasks must leave.
    pub capacity: f64,
    /// Its CPUs.
    pub cpus: Vec<CpuId>,
}

/// A task that could be moved or that at least takes up capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// What people call it: its thread id, or the id in a file.
    pub id: u64,
    /// The task's row. Must be unique.
    pub task: TaskRef,
    /// Process id (tgid): threads of one process are best kept together.
    pub process: u32,
    /// Weight, nice 0 = 100.
    pub weight: f64,
    /// CPUs it could use, 0..=1.
    pub demand: f64,
    /// Where it is. A task in an unknown domain has an entitlement, but counts
    /// for no domain and is not moved.
    pub domain: DomainId,
    /// The CPUs it may use.
    pub mask: MaskId,
    /// The control group it is in.
    pub group: GroupId,
    /// Whether it may be moved at all.
    pub movable: bool,
    /// Bit n: its memory policy prefers node n (n < 64). 0: no preference.
    pub preferred_nodes: u64,
    /// Rounds since it was last moved; `u32::MAX`: never.
    pub moved_ago_rounds: u32,
    /// CPU time the machine still owes it, in ms; below 0: it is ahead.
    pub lag_ms: f64,
}

/// What the user and the daemon ask of the planner.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Off: entitlements and loads are computed, nothing is moved.
    pub enabled: bool,
    /// Most moves in one plan. Bounds the time BPF takes to apply a plan.
    pub max_moves: usize,
    /// Most tasks looked at in one plan, give or take one search. Bounds its
    /// time on machines where masks confine most tasks: some 10 ns a look.
    pub max_looks: u64,
    /// Heed `preferred_nodes`.
    pub mempolicy_affinity: bool,
    /// A gap up to this part of the capacity (and up to the largest
    /// entitlement of a movable task) is left alone inside a node; a larger one
    /// is settled to half of that. 0.01: shares are then right within 1 %, about
    /// what demand estimates are good for.
    pub band: f64,
    /// The same between nodes, where a move costs more.
    pub remote_band: f64,
    /// Tasks owed fewer CPUs than this are only moved off domains where they
    /// cannot stay: 0.001 is a millisecond in a second, about what warming up
    /// elsewhere costs.
    pub least_share: f64,
    /// A task moved fewer rounds ago than this stays, so that it can warm up…
    pub rest_rounds: u32,
    /// …unless its domain owes this many CPUs more than it has.
    pub rest_override: f64,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            enabled: true,
            max_moves: 1024,
            max_looks: 20_000_000,
            mempolicy_affinity: false,
            band: 0.01,
            remote_band: 0.02,
            least_share: 0.001,
            rest_rounds: 3,
            rest_override: 1.0,
        }
    }
}

/// What every task is owed, and the moves that let the domains pay it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// CPUs owed to each task, parallel to the snapshot's tasks.
    pub entitlements: Vec<f64>,
    /// The level of each task in its group, parallel to the snapshot's tasks: see
    /// [`Entitlements::levels`].
    pub levels: Vec<f64>,
    /// λ, in CPUs per unit of weight; infinite if nobody is limited.
    pub level: f64,
    /// Each domain's sums, in the snapshot's order.
    pub domains: Vec<DomainPlan>,
    /// The moves, at most one a task, in the order they were decided.
    pub moves: Vec<Move>,
    /// What had to be done and what remains.
    pub certificate: Certificate,
}

/// Σ entitlement of one domain, in CPUs, against its capacity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DomainPlan {
    /// The domain.
    pub id: DomainId,
    /// CPUs it can hand out.
    pub capacity: f64,
    /// CPUs it owes in the snapshot.
    pub before: f64,
    /// CPUs it owes once the moves are applied.
    pub after: f64,
}

/// One task to move.
#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    /// The task.
    pub task: TaskRef,
    /// Its place in the snapshot's tasks.
    pub index: usize,
    /// Where it is.
    pub from: DomainId,
    /// Where it is to go.
    pub to: DomainId,
    /// CPUs it is owed.
    pub entitlement: f64,
    /// Why, in one sentence with the numbers in CPUs.
    pub reason: String,
}

/// Proof that a plan does not do more than it must, and what it leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Certificate {
    /// CPUs of entitlement that must cross nodes in any plan that leaves no
    /// node further from its capacity than this one leaves the worst.
    pub cross_node_min: f64,
    /// No plan that leaves no domain further off than `imbalance_after` has
    /// fewer moves than this. A lower bound, not always reached.
    pub moves_min: usize,
    /// The largest distance of a domain from a fair load, in CPUs: from its
    /// capacity while the machine is limited, otherwise only what it owes
    /// beyond its capacity.
    pub imbalance_after: f64,
}

/// Plans one round. Deterministic, and independent of the order of the tasks
/// to the last bit; `Move::index` alone follows it.
pub fn plan(snapshot: &Snapshot, config: &Config) -> Plan {
    let order = canonical_order(&snapshot.tasks);
    let owed = entitlements(snapshot, &order);
    let mut board = Board::new(
        snapshot,
        config,
        &order,
        &owed.shares,
        owed.level.is_finite(),
    );
    let before = board.loads();
    if config.enabled {
        balance(&mut board, snapshot, config);
    }
    let in_order_of_the_snapshot = |values: &[f64]| {
        let mut sorted = vec![0.0; values.len()];
        for (&index, &value) in order.iter().zip(values) {
            sorted[index] = value;
        }
        sorted
    };
    Plan {
        entitlements: in_order_of_the_snapshot(&owed.shares),
        levels: in_order_of_the_snapshot(&owed.levels),
        level: owed.level,
        domains: board.domain_plans(&before),
        certificate: certificate::certify(&board, &before),
        moves: board.into_moves(),
    }
}

/// What each task is owed, in the order given.
fn entitlements(snapshot: &Snapshot, order: &[usize]) -> Entitlements {
    let mut cpus: Vec<CpuCapacity> = Vec::new();
    for domain in &snapshot.domains {
        let capacity = capacity_of(domain) / domain.cpus.len() as f64;
        cpus.extend(domain.cpus.iter().map(|&cpu| CpuCapacity { cpu, capacity }));
    }
    let tasks = order.iter().map(|&index| &snapshot.tasks[index]);
    let claim = |task: &Task| TaskClaim {
        weight: task.weight,
        demand: task.demand,
        mask: task.mask,
        group: task.group,
    };
    let mut owed = Entitlements::default();
    let problem = Problem {
        cpus: &cpus,
        masks: &snapshot.masks,
        groups: &snapshot.groups,
        tasks: &tasks.map(claim).collect::<Vec<_>>(),
    };
    Solver::default().solve(&problem, &mut owed);
    owed
}

/// Evacuates, then settles level by level until no level finds a step.
fn balance(board: &mut Board, snapshot: &Snapshot, config: &Config) {
    let mut passes = passes(board, snapshot, config);
    if !board.has_evacuees()
        && passes
            .iter()
            .all(|pass| board.outside(&pass.members, pass.band).is_empty())
    {
        return;
    }
    board.prepare();
    board.evacuate();
    let searches = Search::all(config.mempolicy_affinity);
    let mut next = 0;
    while let Some(&search) = searches.get(next) {
        let steps_before = board.steps();
        for pass in &mut passes {
            settle(board, pass, search);
        }
        // A step can make way for what asks less: start over.
        next = if board.steps() > steps_before {
            0
        } else {
            next + 1
        };
    }
}

/// The levels: nodes, domains of each node, and all domains for what is left.
fn passes(board: &Board, snapshot: &Snapshot, config: &Config) -> Vec<Pass> {
    let used: BTreeSet<NodeId> = snapshot.domains.iter().map(|domain| domain.node).collect();
    let nodes: Vec<Member> = used.iter().map(|&node| board.node_member(node)).collect();
    let singles = |domains: &[usize]| {
        domains
            .iter()
            .map(|&domain| Member {
                domains: vec![domain],
            })
            .collect()
    };
    let band = |part, goal| settle::Band {
        part,
        most: board.largest,
        goal,
    };
    let (local, remote) = (band(config.band, 0.5), band(config.remote_band, 0.5));
    // Balanced nodes can leave domains off that only a remote one can relieve.
    // While the machine is limited that is worth crossing only for more than a
    // task: less is noise, and would cross back.
    let leftover = if board.is_limited() {
        band(f64::MAX, 1.0)
    } else {
        remote
    };

    let mut passes = Vec::new();
    if nodes.len() > 1 {
        passes.push(Pass::new(nodes.clone(), remote));
    }
    passes.extend(
        nodes
            .iter()
            .map(|node| Pass::new(singles(&node.domains), local)),
    );
    if nodes.len() > 1 {
        let all: Vec<usize> = (0..snapshot.domains.len()).collect();
        passes.push(Pass::new(singles(&all), leftover));
    }
    passes
}

/// Indices of the tasks by row, so that every sum is taken in the same order.
fn canonical_order(tasks: &[Task]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|&index| tasks[index].task);
    order
}

/// The CPUs a domain can hand out, 0 if that is not a number above 0.
fn capacity_of(domain: &Domain) -> f64 {
    if domain.capacity > 0.0 && domain.capacity.is_finite() {
        domain.capacity
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests;
