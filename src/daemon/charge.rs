// SPDX-License-Identifier: GPL-2.0-only
//! The weight that a task's virtual time is charged by.
//! Never looks at where tasks are: what they are owed alone decides.
//!
//! # The weight
//! Inside a domain CPU time is shared by weight: at the domain's level μ a task
//! gets min(d, μ·w), and all together what the domain has. The planner sees to it
//! that each domain has what its tasks are owed. So the domain pays everybody
//! exactly c if, for one number r that is the same on the whole machine, each
//! task is charged by a weight with min(d, r·w) = c: at μ = r the domain then
//! hands out what it has, and there is one way to share at which it does.
//!
//! With ℓ the level of the task in its group, c = min(d, ℓ·own), where d is 1
//! at most, so that these weights do it:
//!
//! | the task | is charged by |
//! |---|---|
//! | limited: ℓ is finite | min(ℓ·own, 1) / r |
//! | not limited in its group, on a machine that is | max(own, 2·d/r), at most 1/r |
//! | on a machine with room for all | own |
//!
//! - **At most 1/r**, the weight of one CPU. A task that asks for more can never
//!   have it. Charged by its own weight it would fall behind its queue's clock as
//!   long as it runs, and the moment there is competition it would be owed what it
//!   could never have used (Surplus Fair Scheduling, Chandra et al., OSDI 2000).
//! - **Twice the demand** for a task whose group has room for it: the weight of its
//!   demand alone would hold it to what it used last, so that it could never show
//!   that it needs more.
//!
//! # The number r
//! Any r will do for the shares. It is the level the machine would have if it
//! handed out as much without groups and masks: then the weights are as large, all
//! in all, as without groups, and a task that has come since the last round, which
//! is charged by its own weight, gets what it would get without groups. Where
//! there are no groups r is the machine's level λ, so that a task is charged by
//! min(own, 1/λ), unless masks hold it at another level.
//!
//! # Limits
//! - BPF knows whole weights, nice 0 = 1024, from 1 on. A task that is owed less
//!   than a thousandth of what it would be owed without groups gets too much.
//! - A quota caps what its group is owed, and so the weights, while the machine has
//!   no room. On a machine with room nothing enforces it.
//! - Changes of up to 1/64 are not told, so shares are right to 1.6 %.
//! - A task that lives for less than a round is charged by its own weight all its
//!   life: a group of many short tasks gets what it would get without groups.

use crate::demand::RowSample;
use crate::entitlement::{Claim, Filler};
use crate::kernel::Kernel;
use crate::load_balance::{Plan, Snapshot, Task};
use crate::weight::{weight_of_kernel, weight_to_kernel};

/// Changes by less than this part are left for a later round: every one dirties
/// a cache line that BPF reads at each switch.
const WORTH_TELLING: f64 = 1.0 / 64.0;

/// How far above its demand a task may go that its group has room for.
const HEADROOM: f64 = 2.0;

/// What a task is charged by if not by its own weight, nice 0 = 100. `level` is
/// its own in its group, `reference` the number r above.
pub fn weight(own: f64, demand: f64, level: f64, reference: f64) -> Option<f64> {
    let one_cpu = 1.0 / reference;
    if !(reference.is_finite() && one_cpu.is_finite()) {
        return None;
    }
    let worth = match level {
        // Multiplying and dividing by the same would not give `own` again.
        _ if level == reference => own,
        // It has no CPU it is owed anything of. Where it runs it is like others.
        _ if level <= 0.0 => own,
        _ if level.is_finite() => level * own / reference,
        _ => own.max(HEADROOM * demand / reference),
    };
    let weight = worth.min(one_cpu);
    (weight != own).then_some(weight)
}

/// Has the task of `row` charged by what a plan owes it. `level` is its own in its
/// group, `reference` the number r above.
pub fn tell(kernel: &mut dyn Kernel, row: &RowSample, task: &Task, level: f64, reference: f64) {
    let wanted = weight(task.weight, task.demand, level, reference);
    // As BPF will hold it, or what cannot be held would be told for ever.
    let wanted = wanted.map(|weight| weight_of_kernel(weight_to_kernel(weight)));
    if differs(row.charged, wanted) {
        kernel.charge(row.task, wanted);
    }
}

/// Finds the number r, and keeps its memory from round to round.
#[derive(Debug, Default)]
pub struct Charger {
    filler: Filler,
}

impl Charger {
    /// The number r: the level at which as much is handed out without groups and
    /// masks, in CPUs per unit of weight.
    pub fn reference(&mut self, snapshot: &Snapshot, plan: &Plan) -> f64 {
        if snapshot.groups.len() <= 1 || !plan.level.is_finite() {
            return plan.level;
        }
        let claims = snapshot.tasks.iter().map(|task| {
            let claim = Claim {
                weight: task.weight,
                demand: task.demand,
            };
            claim.sane()
        });
        let owed = plan.entitlements.iter().sum();
        self.filler.level(claims, owed).level
    }
}

fn differs(now: Option<f64>, wanted: Option<f64>) -> bool {
    match (now, wanted) {
        (Some(now), Some(wanted)) => (now / wanted - 1.0).abs() > WORTH_TELLING,
        (now, wanted) => now.is_some() != wanted.is_some(),
    }
}

#[cfg(test)]
mod tests;
