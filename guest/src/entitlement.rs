// SPDX-License-Identifier: GPL-2.0-only
//! What spinners are owed, computed independently of the scheduler: by bisection on the water
//! level, where the scheduler walks sorted tasks.
//! Never used by anything but tests and the demo.

/// Weights of nice -20 to 19: the kernel's sched_prio_to_weight, nice 0 = 1024.
const WEIGHTS: [u32; 40] = [
    88761, 71755, 56483, 46273, 36291, 29154, 23254, 18705, 14949, 11916, 9548, 7620, 6100, 4904,
    3906, 3121, 2501, 1991, 1586, 1277, 1024, 820, 655, 526, 423, 335, 272, 215, 172, 137, 110, 87,
    70, 56, 45, 36, 29, 23, 18, 15,
];

/// Halvings of the bracket around the level: more than a double has bits.
const HALVINGS: u32 = 200;

/// Weight of a nice value, nice 0 = 1024. Values outside -20..=19 count as the nearest.
pub fn weight_of_nice(nice: i32) -> f64 {
    f64::from(WEIGHTS[(nice.clamp(-20, 19) + 20) as usize])
}

/// What a task may ask for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Claim {
    /// Nice value.
    pub nice: i32,
    /// CPUs it would use alone, 0 to 1.
    pub demand: f64,
}

/// CPUs each always-running task is owed on `capacity` CPUs.
pub fn entitlements(capacity: f64, nices: &[i32]) -> Vec<f64> {
    let claim = |nice: &i32| Claim {
        nice: *nice,
        demand: 1.0,
    };
    let claims: Vec<Claim> = nices.iter().map(claim).collect();
    entitlements_of(capacity, &claims)
}

/// CPUs each task is owed on `capacity` CPUs: min(demand, level × weight), the level such that
/// everything is handed out.
pub fn entitlements_of(capacity: f64, claims: &[Claim]) -> Vec<f64> {
    let owed_at = |level: f64| {
        let owed = move |claim: &Claim| (level * weight_of_nice(claim.nice)).min(claim.demand);
        claims.iter().map(owed)
    };
    // At level 1 every task is owed its demand: no weight is below 1.
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if owed_at(middle).sum::<f64>() < capacity {
            low = middle;
        } else {
            high = middle;
        }
    }
    owed_at(high).collect()
}

#[cfg(test)]
mod unit {
    use super::{Claim, entitlements, entitlements_of};

    fn near(got: f64, expected: f64) {
        assert!((got - expected).abs() < 5e-4, "{got} is not {expected}");
    }

    #[test]
    fn known_machines() {
        near(entitlements(8.0, &[0; 12])[11], 0.6667);
        near(entitlements(8.0, &[0; 4])[3], 1.0);
        let mut infeasible = vec![-20];
        infeasible.extend([0; 15]);
        near(entitlements(8.0, &infeasible)[0], 1.0);
        near(entitlements(8.0, &infeasible)[15], 7.0 / 15.0);
        let mut low = vec![0; 8];
        low.extend([19; 8]);
        near(entitlements(8.0, &low)[15], 0.0144);
    }

    #[test]
    fn what_is_not_wanted_goes_to_the_others() {
        let claim = |demand| Claim { nice: 0, demand };
        let mut claims = vec![claim(1.0); 3];
        claims.push(claim(0.1));
        let owed = entitlements_of(2.0, &claims);
        near(owed[0], 1.9 / 3.0);
        near(owed[3], 0.1);
        near(entitlements_of(8.0, &claims)[3], 0.1);
    }

    #[test]
    fn the_mix_of_issue_2() {
        let mut mix = vec![0; 9];
        mix.extend([5; 4]);
        mix.extend([-5; 3]);
        let owed = entitlements(8.0, &mix);
        near(owed[0], 0.4850);
        near(owed[9], 0.1587);
        near(owed[15], 1.0);
        near(owed.iter().sum(), 8.0);
    }
}
