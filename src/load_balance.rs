// SPDX-License-Identifier: GPL-2.0-only
//! The balancer: which tasks to move so that every domain can pay what it owes.
//! Never touches the clock, the kernel or any other I/O: a pure function.
//!
//! Every task has an entitlement c in CPUs (see [`crate::entitlement`]). If
//! the entitlements of each domain's tasks add up to its capacity, fair
//! scheduling inside the domains is fair scheduling of the machine. A domain may
//! owe less, as far as its CPUs are of no use to anybody who gets less than he
//! could use; how far it is outside of that is its fault (see `side`).
//!
//! Nothing is moved unless that lowers the sum of the faults of the two domains or,
//! inside a node that is off as a whole, leaves that sum and shares it more evenly:
//! a potential over the machine that every step lowers. So
//! planning ends, and planning on the outcome of a plan that was not cut short
//! (by `max_moves`, `max_looks` or `cross_node_part`) finds no load to move.
//!
//! One search does this for any partition of the domains (`settle`): the nodes
//! first, then the domains of each node, then, for what these leave, all domains
//! (`levels`). Where what is owed is even, those that sleep are spread evenly as well
//! (`mix`). What no move can even out is evened out in time (`rotate`).

mod board;
mod brief;
mod certificate;
mod choose;
mod config;
mod evacuate;
mod levels;
mod list;
mod machine;
mod mix;
mod model;
mod moves;
mod outcome;
mod process;
mod reach;
mod rotate;
mod settle;
mod side;

use crate::entitlement::{CpuCapacity, Entitlements, Problem, Solver};
use board::{Board, Kept};
use brief::Briefs;
pub use config::Config;
use levels::Levels;
pub use model::{Domain, Node, Snapshot, Task};
pub use outcome::{Cause, Certificate, DomainPlan, Move, Owing, Plan, Reason, Remains};
use rotate::Rotation;

/// How often tasks are mixed in one plan, at most: mostly they are already.
const MOST_MIXES: usize = 8;

/// Plans rounds, and keeps its memory from one to the next.
#[derive(Debug, Default)]
pub struct Planner {
    solver: Solver,
    owed: Entitlements,
    briefs: Briefs,
    cpus: Vec<CpuCapacity>,
    board: Kept,
    levels: Levels,
    rotation: Rotation,
}

impl Planner {
    /// Plans one round into the memory of an older plan. Deterministic, and
    /// independent of the order of the tasks to the last bit; `Move::index`
    /// alone follows it.
    ///
    /// # Panics
    /// With more tasks than a u32 can count.
    pub fn plan(&mut self, snapshot: &Snapshot, config: &Config, plan: &mut Plan) {
        self.briefs.update(&snapshot.tasks);
        self.entitle(snapshot);
        let mut board = Board::begin(&mut self.board, snapshot, config, &self.briefs, &self.owed);
        if config.enabled {
            self.levels.begin(&board);
            balance(&mut board, &mut self.levels, &mut self.rotation);
        }
        plan.level = self.owed.level;
        scatter(
            &self.briefs.order,
            &self.owed.shares,
            &mut plan.entitlements,
        );
        scatter(&self.briefs.order, &self.owed.levels, &mut plan.levels);
        plan.domains.clear();
        plan.domains.extend(board.domain_plans());
        plan.certificate = certificate::certify(&board);
        moves::write(&board, &mut plan.moves);
        board.end(&mut self.board);
    }

    /// Finds what each task is owed, in order.
    fn entitle(&mut self, snapshot: &Snapshot) {
        self.cpus.clear();
        for domain in &snapshot.domains {
            let capacity = capacity_of(domain) / domain.cpus.len() as f64;
            let cpu = |&cpu| CpuCapacity { cpu, capacity };
            self.cpus.extend(domain.cpus.iter().map(cpu));
        }
        let problem = Problem {
            cpus: &self.cpus,
            masks: &snapshot.masks,
            groups: &snapshot.groups,
            tasks: &self.briefs.claims,
        };
        self.solver.solve(&problem, &mut self.owed);
    }
}

/// Plans once, with fresh memory. See [`Planner::plan`].
pub fn plan(snapshot: &Snapshot, config: &Config) -> Plan {
    let mut plan = Plan::default();
    Planner::default().plan(snapshot, config, &mut plan);
    plan
}

/// Evacuates and settles, or, where that finds nothing to do, rotates.
fn balance(board: &mut Board, levels: &mut Levels, rotation: &mut Rotation) {
    if board.has_evacuees || !levels.are_settled(board) {
        board.list(|_| true);
        if board.has_evacuees {
            evacuate::evacuate(board);
        }
        levels.balance(board);
    }
    // What is exchanged can make way for a move that was not possible before.
    let mut left = mix::MOST_COMPARED;
    for _ in 0..MOST_MIXES {
        if !mix::mix(board, levels, &mut left) || levels.are_settled(board) {
            break;
        }
        levels.balance(board);
    }
    if board.steps.is_empty() && rotate::is_due(board) {
        rotate::rotate(board, rotation);
    }
}

/// Puts values that are in order where their tasks are in the snapshot.
fn scatter(order: &[u32], values: &[f64], out: &mut Vec<f64>) {
    out.clear();
    out.resize(values.len(), 0.0);
    for (&index, &value) in order.iter().zip(values) {
        out[index as usize] = value;
    }
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
pub(crate) mod tests;
