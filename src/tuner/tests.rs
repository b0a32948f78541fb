// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the tuner.
//! Never needs a machine: utilisation is made up.

use proptest::prelude::*;

use super::*;

const CONFIG: TunerConfig = TunerConfig {
    slice_underutil_ns: 20_000_000,
    slice_overutil_ns: 1_000_000,
    direct_greedy_under: 90.0,
    kick_greedy_under: 100.0,
};

fn observe(busy: &[f64]) -> Observation {
    let cpus = (0..)
        .zip(busy)
        .map(|(id, &busy)| CpuUse {
            cpu: CpuId(id),
            busy,
        })
        .collect();
    Observation { cpus }
}

fn allowed(mask: &[(CpuId, bool)]) -> Vec<bool> {
    mask.iter().map(|&(_, allowed)| allowed).collect()
}

#[test]
fn idle_machine() {
    let tuning = tune(&observe(&[0.0, 0.2]), &CONFIG, None);
    assert_eq!(tuning.slice_ns, 20_000_000);
    assert_eq!(tuning.preempt_margin_ns, 500_000);
    assert!((tuning.utilisation - 0.1).abs() < 1e-12);
    assert!(!tuning.saturated);
}

#[test]
fn saturated_machine() {
    let tuning = tune(&observe(&[1.0, 0.99]), &CONFIG, None);
    assert_eq!(tuning.slice_ns, 1_000_000);
    assert_eq!(tuning.preempt_margin_ns, 1_000_000);
    assert!(tuning.saturated);
}

#[test]
fn no_cpus() {
    let tuning = tune(&observe(&[]), &CONFIG, None);
    assert_eq!((tuning.utilisation, tuning.saturated), (0.0, false));
}

#[test]
fn between_the_thresholds_nothing_changes() {
    let low = tune(&observe(&[0.5]), &CONFIG, None);
    let full = tune(&observe(&[1.0]), &CONFIG, Some(&low));
    for busy in [0.95, 0.97, 0.989] {
        assert!(
            !tune(&observe(&[busy]), &CONFIG, Some(&low)).saturated,
            "{busy}"
        );
        assert!(
            tune(&observe(&[busy]), &CONFIG, Some(&full)).saturated,
            "{busy}"
        );
    }
    assert!(!tune(&observe(&[0.94]), &CONFIG, Some(&full)).saturated);
}

#[test]
fn thresholds_pick_cpus() {
    let seen = observe(&[0.5, 0.9, 0.95, f64::NAN]);
    let tuning = tune(&seen, &CONFIG, None);
    assert_eq!(allowed(&tuning.direct), [true, false, false, false]);
    assert_eq!(allowed(&tuning.kick), [true; 4]);
    let never = TunerConfig {
        direct_greedy_under: 0.0,
        kick_greedy_under: 0.0,
        ..CONFIG
    };
    let tuning = tune(&observe(&[0.0, 1.0]), &never, None);
    assert_eq!(allowed(&tuning.direct), [false; 2]);
    assert_eq!(allowed(&tuning.kick), [false; 2]);
}

proptest! {
    #![proptest_config(crate::seeds::config("tuner"))]

    #[test]
    fn within_bounds(
        busy in prop::collection::vec(prop_oneof![0.0..=1.0f64, any::<f64>()], 0..64),
        under_ns in 1..100_000_000u64,
        over_ns in 1..100_000_000u64,
        direct in 0.0..=100.0f64,
        was_saturated in any::<bool>(),
    ) {
        let config = TunerConfig {
            slice_underutil_ns: under_ns,
            slice_overutil_ns: over_ns,
            direct_greedy_under: direct,
            ..CONFIG
        };
        let seen = observe(&busy);
        let previous = Tuning { saturated: was_saturated, ..tune(&observe(&[]), &config, None) };
        let tuning = tune(&seen, &config, Some(&previous));
        prop_assert!((0.0..=1.0).contains(&tuning.utilisation));
        prop_assert!((MARGIN_MIN_NS..=MARGIN_MAX_NS).contains(&tuning.preempt_margin_ns));
        prop_assert_eq!(tuning.slice_ns, if tuning.saturated { over_ns } else { under_ns });
        prop_assert_eq!(tuning.direct.len(), busy.len());
        prop_assert_eq!(tuning.kick.len(), busy.len());
        // The same observation again decides the same.
        prop_assert_eq!(tune(&seen, &config, Some(&tuning)), tuning);
    }

    #[test]
    fn a_busier_machine_is_never_tuned_for_idling(busy in prop::collection::vec(0.0..=1.0f64, 1..32), more in 0.0..1.0f64) {
        let busier: Vec<f64> = busy.iter().map(|b| (b + more).min(1.0)).collect();
        let (calm, full) = (tune(&observe(&busy), &CONFIG, None), tune(&observe(&busier), &CONFIG, None));
        prop_assert!(full.preempt_margin_ns >= calm.preempt_margin_ns);
        prop_assert!(full.slice_ns <= calm.slice_ns);
        for (a, b) in calm.direct.iter().zip(&full.direct) {
            prop_assert!(a.1 || !b.1);
        }
    }
}
