// SPDX-License-Identifier: GPL-2.0-only
//! Who plans the moves: the planner that ships, nobody, or scx_rusty's.
//! Never touches the machine: snapshots in, plans out.

#[path = "../../../benches/peers/rusty.rs"]
#[allow(missing_docs)]
mod rusty;

use std::collections::BTreeMap;

use scx_ballast::demand::RowSample;
use scx_ballast::ids::{DomainId, NodeId, TaskRef};
use scx_ballast::load_balance::{self, Cause, Config, Move, Owing, Plan, Reason, Snapshot};

use crate::engine::Ns;
use crate::scenario::Balancer;

/// A planner, and what it remembers between rounds.
pub struct Planner {
    balancer: Balancer,
    config: Config,
    shipped: load_balance::Planner,
    samples: Vec<RowSample>,
    /// Time run or waited by the last round, of every task.
    runnable: BTreeMap<TaskRef, Ns>,
    last: Ns,
}

impl Planner {
    /// A planner of this kind.
    pub fn new(balancer: Balancer, config: Config) -> Planner {
        Planner {
            balancer,
            config: Config {
                enabled: config.enabled && balancer == Balancer::Ballast,
                ..config
            },
            shipped: load_balance::Planner::default(),
            samples: Vec::new(),
            runnable: BTreeMap::new(),
            last: 0,
        }
    }

    /// Where a copy of the rows read for the next plan belongs.
    pub fn samples(&mut self) -> &mut Vec<RowSample> {
        &mut self.samples
    }

    /// Plans for a snapshot, at `now`, into the memory of an older plan. The
    /// others say what is owed as the planner that ships does.
    pub fn plan(&mut self, now: Ns, snapshot: &Snapshot, plan: &mut Plan) {
        self.shipped.plan(snapshot, &self.config, plan);
        if self.balancer == Balancer::Rusty {
            let runnable = self.runnable_shares(now, snapshot);
            let full = plan.level.is_finite();
            let steps = rusty::round(snapshot, &runnable, full);
            let may = |step: &rusty::Step| snapshot.tasks[step.0].movable;
            let moves = steps.into_iter().filter(may).map(|(index, to)| {
                let (from, to) = (snapshot.tasks[index].domain, DomainId(to as u32));
                Move {
                    task: snapshot.tasks[index].task,
                    index,
                    from,
                    to,
                    entitlement: plan.entitlements[index],
                    reason: reason(plan, index, from, to),
                }
            });
            plan.moves = moves.collect();
        }
    }

    /// The part of the time since the last plan that each task ran or waited.
    fn runnable_shares(&mut self, now: Ns, snapshot: &Snapshot) -> Vec<f64> {
        let span = now.saturating_sub(self.last).max(1) as f64;
        let sums = |row: &RowSample| (row.task, row.run_ns + row.wait_ns);
        let sums: BTreeMap<TaskRef, Ns> = self.samples.iter().map(sums).collect();
        let share = |task: &TaskRef| {
            let now = sums.get(task).copied().unwrap_or(0);
            let before = self.runnable.get(task).copied().unwrap_or(0);
            (now.saturating_sub(before) as f64 / span).min(1.0)
        };
        let shares = snapshot
            .tasks
            .iter()
            .map(|task| share(&task.task))
            .collect();
        (self.runnable, self.last) = (sums, now);
        shares
    }
}

/// What there is to say of a move that another planner decided.
fn reason(plan: &Plan, index: usize, from: DomainId, to: DomainId) -> Reason {
    let owing = |id: DomainId| {
        let domain = &plan.domains[id.index()];
        Owing {
            id,
            load: domain.before,
            capacity: domain.capacity,
        }
    };
    Reason {
        from: owing(from),
        to: owing(to),
        share: plan.entitlements[index],
        partner: None,
        cause: Cause::Load,
    }
}

/// CPUs that the moves take out of nodes, less what they bring in: a swap counts as
/// the difference of the two.
pub fn net_crossing(snapshot: &Snapshot, plan: &Plan) -> f64 {
    let node = |domain: DomainId| snapshot.domains[domain.index()].node;
    let mut out = BTreeMap::<NodeId, f64>::new();
    for one in &plan.moves {
        *out.entry(node(one.from)).or_default() += one.entitlement;
        *out.entry(node(one.to)).or_default() -= one.entitlement;
    }
    out.values().filter(|net| **net > 0.0).sum()
}

/// The largest distance of a domain from its fair load before the moves, in CPUs:
/// from its capacity while the machine is limited, otherwise only what is beyond.
pub fn largest_gap(plan: &Plan) -> f64 {
    let limited = plan.level.is_finite();
    let gap = |over: f64| if limited { over.abs() } else { over.max(0.0) };
    plan.domains
        .iter()
        .map(|domain| gap(domain.before - domain.capacity))
        .fold(0.0, f64::max)
}
