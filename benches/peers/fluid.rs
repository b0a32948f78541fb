// SPDX-License-Identifier: GPL-2.0-only
//! A fluid machine on which balancers are compared: each domain shares its CPUs
//! fairly among its own tasks, a balancer moves tasks between rounds of 1 s.
//! Never favours one: all see the same tasks and the same machine.

use scx_ballast::entitlement::{Claim, fill};
use scx_ballast::ids::DomainId;
use scx_ballast::load_balance::{Config, Snapshot, plan};

use super::rusty;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balancer {
    Nobody,
    Rusty,
    Ballast,
}

/// What came of some rounds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    /// Root mean square of (received − entitlement) / entitlement over the last
    /// [`JUDGED_ROUNDS`].
    pub share_error: f64,
    /// CPUs used of those that could be, over the same rounds.
    pub utilisation: f64,
    /// Moves until the judged rounds, and in them.
    pub moves_before: usize,
    pub moves_judged: usize,
    /// CPUs of entitlement moved between nodes until the judged rounds.
    pub crossed: f64,
}

/// Rounds before judging: enough for any of them to settle.
pub const SETTLING_ROUNDS: usize = 20;
/// Rounds judged together: the window in which people look at shares.
pub const JUDGED_ROUNDS: usize = 10;

/// Runs a balancer from the snapshot on.
pub fn run(snapshot: &Snapshot, balancer: Balancer) -> Outcome {
    let config = Config::default();
    let owed = plan(snapshot, &config).entitlements;
    let could: f64 = owed.iter().sum();
    let mut machine = snapshot.clone();
    let mut outcome = Outcome::default();
    let mut received = vec![0.0; owed.len()];
    for round in 0..SETTLING_ROUNDS + JUDGED_ROUNDS {
        let judged = round >= SETTLING_ROUNDS;
        let now = serve(&machine);
        for (place, (task, &got)) in machine.tasks.iter_mut().zip(&now).enumerate() {
            task.lag_ms += 1000.0 * (owed[place] - got);
            task.moved_ago_rounds = task.moved_ago_rounds.saturating_add(1);
            if judged {
                received[place] += got / JUDGED_ROUNDS as f64;
            }
        }
        let steps = decide(&machine, &now, balancer, &config);
        *if judged {
            &mut outcome.moves_judged
        } else {
            &mut outcome.moves_before
        } += steps.len();
        for (task, to) in steps {
            let task_now = &mut machine.tasks[task];
            let (from, target) = (task_now.domain.index(), DomainId(to as u32));
            if !judged && snapshot.domains[from].node != snapshot.domains[to].node {
                outcome.crossed += owed[task];
            }
            (task_now.domain, task_now.moved_ago_rounds) = (target, 0);
        }
    }
    outcome.share_error = share_error(&received, &owed);
    outcome.utilisation = received.iter().sum::<f64>() / could;
    outcome
}

fn decide(
    machine: &Snapshot,
    now: &[f64],
    balancer: Balancer,
    config: &Config,
) -> Vec<rusty::Step> {
    match balancer {
        Balancer::Nobody => Vec::new(),
        Balancer::Rusty => {
            let capacity: f64 = machine.domains.iter().map(|domain| domain.capacity).sum();
            let full = now.iter().sum::<f64>() >= 0.99999 * capacity;
            let runnable = |(task, got): (&scx_ballast::load_balance::Task, &f64)| {
                // A closed loop sleeps in proportion to what it ran.
                let slept = if task.demand > 0.0 {
                    got * (1.0 - task.demand) / task.demand
                } else {
                    1.0
                };
                (1.0 - slept).clamp(0.0, 1.0)
            };
            let runnable: Vec<f64> = machine.tasks.iter().zip(now).map(runnable).collect();
            rusty::round(machine, &runnable, full)
        }
        Balancer::Ballast => plan(machine, config)
            .moves
            .iter()
            .map(|planned| (planned.index, planned.to.index()))
            .collect(),
    }
}

/// What each task receives where it is.
fn serve(machine: &Snapshot) -> Vec<f64> {
    let mut received = vec![0.0; machine.tasks.len()];
    let mut shares = Vec::new();
    for domain in &machine.domains {
        let here: Vec<usize> = (0..machine.tasks.len())
            .filter(|&task| machine.tasks[task].domain == domain.id)
            .collect();
        let claims: Vec<Claim> = here
            .iter()
            .map(|&task| Claim {
                weight: machine.tasks[task].weight,
                demand: machine.tasks[task].demand,
            })
            .collect();
        fill(&claims, domain.capacity, &mut shares);
        for (&task, &share) in here.iter().zip(&shares) {
            received[task] = share;
        }
    }
    received
}

fn share_error(received: &[f64], owed: &[f64]) -> f64 {
    let errors: Vec<f64> = received
        .iter()
        .zip(owed)
        .filter(|(_, owed)| **owed > 1e-6)
        .map(|(got, owed)| (got / owed - 1.0).powi(2))
        .collect();
    (errors.iter().sum::<f64>() / errors.len().max(1) as f64).sqrt()
}
