// SPDX-License-Identifier: GPL-2.0-only
//! The water-fill of one pot, against bisection.
//! Never shares code with what it checks.

use proptest::prelude::*;

use super::{assert_close, claim};
use crate::entitlement::*;
use crate::weight::weight_of_nice;

fn solve(claims: &[Claim], capacity: f64) -> (Fill, Vec<f64>) {
    let mut entitlements = Vec::new();
    let fill = fill(claims, capacity, &mut entitlements);
    (fill, entitlements)
}

/// λ by bisection: Σ min(d, λw) is continuous and does not fall as λ rises.
fn level_by_bisection(claims: &[Claim], capacity: f64) -> f64 {
    let given = |level: f64| {
        claims
            .iter()
            .map(|c| c.demand.min(level * c.weight))
            .sum::<f64>()
    };
    let (mut low, mut high) = (
        0.0,
        claims
            .iter()
            .map(|c| c.demand / c.weight)
            .fold(0.0, f64::max),
    );
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if given(middle) > capacity {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[test]
fn nobody_claims() {
    let (fill, entitlements) = solve(&[], 8.0);
    assert_eq!((fill.level, fill.total), (f64::INFINITY, 0.0));
    assert!(entitlements.is_empty());
}

#[test]
fn nobody_wants() {
    let (fill, entitlements) = solve(&[claim(100.0, 0.0), claim(1.46, 0.0)], 8.0);
    assert!(!fill.is_limited());
    assert_eq!(entitlements, [0.0, 0.0]);
}

#[test]
fn no_capacity() {
    for capacity in [0.0, -1.0, f64::NAN] {
        let (fill, entitlements) = solve(&[claim(100.0, 1.0), claim(8668.0, 0.5)], capacity);
        assert_eq!((fill.level, fill.total), (0.0, 0.0));
        assert_eq!(entitlements, [0.0, 0.0]);
    }
}

#[test]
fn exactly_full_limits_nobody() {
    let (fill, entitlements) = solve(&[claim(100.0, 0.1); 80], 8.0);
    assert!(!fill.is_limited());
    assert_eq!(entitlements, [0.1; 80]);
    assert!(!solve(&[claim(100.0, 1.0); 8], 8.0).0.is_limited());
}

#[test]
fn invalid_claims_get_nothing() {
    let bad = [
        claim(0.0, 1.0),
        claim(-1.0, 1.0),
        claim(f64::NAN, 1.0),
        claim(f64::INFINITY, 1.0),
        claim(100.0, f64::NAN),
        claim(100.0, -1.0),
        claim(100.0, f64::INFINITY),
        claim(100.0, 1.0),
        claim(100.0, 1.0),
    ];
    let (fill, entitlements) = solve(&bad, 1.0);
    assert_close(
        &entitlements,
        &[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5],
    );
    assert_eq!(fill.total, 1.0);
}

#[test]
fn heaviest_beside_fifteen() {
    let mut claims = vec![claim(weight_of_nice(-20), 1.0)];
    claims.resize(16, claim(100.0, 1.0));
    let (_, entitlements) = solve(&claims, 8.0);
    assert_eq!(entitlements[0], 1.0);
    assert_close(&entitlements[1..], &[7.0 / 15.0; 15]);
}

#[test]
fn lightest_beside_eight() {
    let mut claims = vec![claim(100.0, 1.0); 8];
    claims.resize(16, claim(weight_of_nice(19), 1.0));
    let (_, entitlements) = solve(&claims, 8.0);
    let level = 1.0 / (100.0 + weight_of_nice(19));
    assert_close(&entitlements[8..], &[level * weight_of_nice(19); 8]);
    assert!((entitlements[15] - 0.0144).abs() < 1e-4);
}

#[test]
fn last_one_takes_what_is_left() {
    // Everybody but the lightest has an infeasible weight.
    let (fill, entitlements) = solve(
        &[claim(8668.0, 1.0), claim(8668.0, 1.0), claim(1.46, 1.0)],
        2.5,
    );
    assert_close(&entitlements, &[1.0, 1.0, 0.5]);
    assert!((fill.level - 0.5 / 1.46).abs() < 1e-9);
}

#[test]
fn light_weights_survive_heavy_ones() {
    // 100 000 heavy threads that want little must not blur the last light ones.
    let mut claims = vec![claim(8668.0, 1e-5); 100_000];
    claims.extend([claim(1.46, 1.0), claim(1.46, 1.0)]);
    let (_, entitlements) = solve(&claims, 2.0);
    assert_close(&entitlements[100_000..], &[0.5, 0.5]);
}

fn claims() -> impl Strategy<Value = Vec<Claim>> {
    let weight = prop_oneof![
        (-20..20i32).prop_map(weight_of_nice),
        0.01..10_000.0f64,
        Just(1.46),
        Just(8668.0),
    ];
    let demand = prop_oneof![Just(1.0), Just(0.0), 0.0..1.0f64, 0.0..1e-6f64, 0.0..4.0f64];
    prop::collection::vec((weight, demand).prop_map(|(w, d)| claim(w, d)), 0..60)
}

fn capacity() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), (1..64u32).prop_map(f64::from), 0.0..20.0f64]
}

proptest! {
    #![proptest_config(crate::seeds::config("entitlement::fill"))]

    #[test]
    fn optimal(claims in claims(), capacity in capacity()) {
        let (fill, entitlements) = solve(&claims, capacity);
        let wanted: f64 = claims.iter().map(|c| c.demand).sum();
        let given: f64 = entitlements.iter().sum();
        prop_assert!((given - capacity.min(wanted)).abs() < 1e-9);
        prop_assert!((fill.total - given).abs() < 1e-9);
        for (claim, &c) in claims.iter().zip(&entitlements) {
            // Within bounds, and limited only by demand or by the level.
            prop_assert!((0.0..=claim.demand).contains(&c));
            let at_level = fill.level * claim.weight;
            if fill.is_limited() {
                prop_assert!(c <= at_level + 1e-9);
                prop_assert!(c == claim.demand || (c - at_level).abs() < 1e-9);
            } else {
                prop_assert_eq!(c, claim.demand);
            }
        }
    }

    #[test]
    fn same_as_bisection(claims in claims(), capacity in capacity()) {
        let (fill, entitlements) = solve(&claims, capacity);
        let wanted: f64 = claims.iter().map(|c| c.demand).sum();
        if wanted > capacity + 1e-9 {
            let level = level_by_bisection(&claims, capacity);
            prop_assert!((fill.level - level).abs() <= 1e-9 * (1.0 + level), "{} {level}", fill.level);
            for (claim, c) in claims.iter().zip(&entitlements) {
                prop_assert!((c - claim.demand.min(level * claim.weight)).abs() < 1e-8);
            }
        }
    }

    #[test]
    fn order_does_not_matter(
        (claims, shuffled) in claims().prop_flat_map(|claims| {
            let places: Vec<usize> = (0..claims.len()).collect();
            (Just(claims), Just(places).prop_shuffle())
        }),
        capacity in capacity(),
    ) {
        let (fill, entitlements) = solve(&claims, capacity);
        let permuted: Vec<Claim> = shuffled.iter().map(|&i| claims[i]).collect();
        let (fill_permuted, entitlements_permuted) = solve(&permuted, capacity);
        prop_assert_eq!(fill.is_limited(), fill_permuted.is_limited());
        for (place, &i) in shuffled.iter().enumerate() {
            prop_assert!((entitlements[i] - entitlements_permuted[place]).abs() < 1e-9);
        }
    }

    #[test]
    fn unit_of_weight_does_not_matter(claims in claims(), capacity in capacity(), scale in 0.01..100.0f64) {
        let scaled: Vec<Claim> = claims.iter().map(|c| claim(c.weight * scale, c.demand)).collect();
        assert_close(&solve(&scaled, capacity).1, &solve(&claims, capacity).1);
    }

    #[test]
    fn more_capacity_takes_from_nobody(claims in claims(), capacity in capacity(), more in 0.0..4.0f64) {
        let (_, before) = solve(&claims, capacity);
        let (_, after) = solve(&claims, capacity + more);
        for (b, a) in before.iter().zip(&after) {
            prop_assert!(*a >= b - 1e-9);
        }
    }

    #[test]
    fn scratch_memory_leaves_no_trace(first in claims(), second in claims(), capacity in capacity()) {
        let mut filler = Filler::default();
        let mut entitlements = vec![9.0; 3];
        filler.fill(&first, capacity, &mut entitlements);
        filler.fill(&second, capacity, &mut entitlements);
        prop_assert_eq!(entitlements, solve(&second, capacity).1);
    }
}
