// SPDX-License-Identifier: GPL-2.0-only
//! The weight that a task's virtual time is charged by.
//! Never looks at where tasks are: the level alone decides.
//!
//! A task whose weight asks for more than the one CPU it can use is infeasible:
//! charged by that weight it would fall behind its queue's clock as long as it
//! runs, and the moment there is competition it would be owed what it could
//! never have used. Charged by the weight at which the level gives it exactly
//! one CPU, it keeps pace (Surplus Fair Scheduling, Chandra et al., OSDI 2000).

use crate::kernel::Kernel;

use crate::demand::RowSample;

/// Changes by less than this part are left for a later round: every one dirties
/// a cache line that BPF reads at each switch.
const WORTH_TELLING: f64 = 1.0 / 64.0;

/// The limit on what a task is charged by, nice 0 = 100, where one CPU is owed
/// for each `1 / level` of weight; `None`: by its own weight. A level that is
/// infinite limits nobody.
pub fn limit(weight: f64, level: f64) -> Option<f64> {
    let most = 1.0 / level;
    (level.is_finite() && most.is_finite() && weight > most).then_some(most)
}

/// Has every row charged by what its level allows.
pub fn tell<'a>(kernel: &mut dyn Kernel, rows: impl Iterator<Item = (&'a RowSample, f64)>) {
    for (row, level) in rows {
        let wanted = limit(row.weight, level);
        if differs(row.charged, wanted) {
            kernel.charge(row.task, wanted);
        }
    }
}

fn differs(now: Option<f64>, wanted: Option<f64>) -> bool {
    match (now, wanted) {
        (Some(now), Some(wanted)) => (now / wanted - 1.0).abs() > WORTH_TELLING,
        (now, wanted) => now.is_some() != wanted.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_the_weight_of_one_cpu() {
        // Nice −20 beside 15 of nice 0 on 8 CPUs: λ = 7 / 1500.
        let level = 7.0 / 1500.0;
        let most = limit(8668.0, level).expect("infeasible");
        assert!((most * level - 1.0).abs() < 1e-12);
        assert_eq!(limit(100.0, level), None);
        assert_eq!(limit(8668.0, f64::INFINITY), None);
        assert_eq!(limit(8668.0, 0.0), None);
    }

    #[test]
    fn small_changes_are_not_told() {
        assert!(!differs(Some(100.0), Some(101.0)));
        assert!(differs(Some(100.0), Some(103.0)));
        assert!(differs(None, Some(1.0)) && differs(Some(1.0), None) && !differs(None, None));
    }
}
