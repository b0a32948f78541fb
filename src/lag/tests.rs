// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the account of lag.
//! Never depends on real time: every interval is made up.

use proptest::prelude::*;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;

fn task(slot: u32) -> TaskRef {
    TaskRef {
        slot,
        generation: 1,
    }
}

fn assert_close(actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() < 1e-9,
        "{actual} is not {expected}"
    );
}

/// One interval of one second in which task 0 was owed `entitlement`.
fn account(lags: &mut Lags, entitlement: f64, received: f64, waited: f64) -> f64 {
    lags.begin_round();
    lags.account(task(0), entitlement, received, waited, SECOND_NS);
    lags.lag_ms(task(0))
}

#[test]
fn what_one_domain_loses_the_other_has() {
    // 8 and 7 spinners on 4 CPUs each: everybody is owed 8/15 of a CPU.
    let mut lags = Lags::default();
    for round in 0..200 {
        lags.begin_round();
        for slot in 0..15 {
            let received = if slot < 8 { 4.0 / 8.0 } else { 4.0 / 7.0 };
            lags.account(task(slot), 8.0 / 15.0, received, 1.0 - received, SECOND_NS);
        }
        let sum: f64 = (0..15).map(|slot| lags.lag_ms(task(slot))).sum();
        assert!(sum.abs() < 1e-9, "{sum}");
        if round == 0 {
            // 1/30 CPU for 1 s, less what fades within the second.
            assert!((lags.lag_ms(task(0)) - 33.3 * 0.966).abs() < 0.1);
            assert!((lags.lag_ms(task(8)) + 38.1 * 0.966).abs() < 0.1);
        }
    }
    // What rotation may wait for: 1/30 CPU over 10 s / ln 2.
    assert!((lags.lag_ms(task(0)) - 481.0).abs() < 1.0);
}

#[test]
fn only_what_it_waited_for_is_owed() {
    let mut lags = Lags::default();
    assert_close(account(&mut lags, 1.0, 0.1, 0.0), 0.0);
    let waited = account(&mut lags, 1.0, 0.1, 0.2);
    let behind = account(&mut Lags::default(), 0.3, 0.1, 0.9);
    assert_close(waited, behind);
    assert!((waited - 200.0 * 0.966).abs() < 0.1);
    // Having more than its due pays back, although it waits all the same.
    assert!(account(&mut lags, 0.1, 0.3, 0.7) < 0.0);
}

#[test]
fn lag_fades_and_is_bounded() {
    let mut lags = Lags::default();
    for _ in 0..100 {
        account(&mut lags, 1.0, 0.0, 1.0);
    }
    assert_close(lags.lag_ms(task(0)), 1000.0);
    for _ in 0..10 {
        account(&mut lags, 0.5, 0.5, 0.5);
    }
    assert_close(lags.lag_ms(task(0)), 500.0);
    for _ in 0..100 {
        account(&mut lags, 0.0, 1.0, 0.0);
    }
    assert_close(lags.lag_ms(task(0)), -1000.0);
}

#[test]
fn unknown_tasks_have_none() {
    let mut lags = Lags::default();
    assert_eq!(lags.lag_ms(task(5)), 0.0);
    account(&mut lags, 1.0, 0.0, 1.0);
    let next = TaskRef {
        slot: 0,
        generation: 3,
    };
    assert_eq!(lags.lag_ms(next), 0.0);
    lags.account(next, 0.5, 0.5, 0.5, SECOND_NS);
    assert_eq!((lags.lag_ms(next), lags.lag_ms(task(0))), (0.0, 0.0));
}

#[test]
fn an_absent_task_is_remembered_a_while() {
    let mut lags = Lags::default();
    let lag = account(&mut lags, 1.0, 0.0, 1.0);
    for _ in 0..REMEMBERED_ROUNDS {
        lags.begin_round();
    }
    assert_eq!(lags.lag_ms(task(0)), lag);
    lags.begin_round();
    assert_eq!(lags.lag_ms(task(0)), 0.0);
    assert_close(account(&mut lags, 0.5, 0.5, 0.5), 0.0);
}

proptest! {
    #![proptest_config(crate::seeds::config("lag::tests"))]

    #[test]
    fn always_bounded(
        accounts in prop::collection::vec(
            (0..3u32, 0..2u32, prop::num::f64::ANY, prop::num::f64::ANY, prop::num::f64::ANY, any::<u64>()),
            1..40),
        magnitude in 0..64u32,
    ) {
        let mut lags = Lags::default();
        for (slot, generation, entitlement, received, waited, interval_ns) in accounts {
            let task = TaskRef { slot, generation };
            lags.begin_round();
            lags.account(task, entitlement, received, waited, interval_ns >> magnitude);
            let lag_ms = lags.lag_ms(task);
            prop_assert!((-MOST_MS..=MOST_MS).contains(&lag_ms), "{lag_ms}");
        }
    }

    #[test]
    fn moves_towards_what_happens(
        history in prop::collection::vec((0.0..1.0f64, 0.0..1.0f64, 0.0..1.0f64, 1..30_000u64), 1..40),
    ) {
        let mut lags = Lags::default();
        for (entitlement, received, waited, interval_ms) in history {
            let before = lags.lag_ms(task(0));
            lags.begin_round();
            lags.account(task(0), entitlement, received, waited, interval_ms * 1_000_000);
            let grown = lags.lag_ms(task(0)) - before;
            let interval_ms = interval_ms as f64;
            // In debt to the machine it fades upwards, and otherwise down.
            let due = (entitlement - received).min(waited) * interval_ms;
            prop_assert!(grown <= due.max(0.0) + (-before).max(0.0) + 1e-9);
            prop_assert!(grown >= due.min(0.0) - before.max(0.0) - 1e-9);
        }
    }

    #[test]
    fn intervals_may_be_cut_anywhere(
        first in -1.0..1.0f64, entitlement in 0.0..1.0f64, received in 0.0..1.0f64, waited in 0.0..1.0f64,
        pieces in prop::collection::vec(1..5_000_000_000u64, 1..20),
    ) {
        let mut whole = Lags::default();
        let mut cut = Lags::default();
        for lags in [&mut whole, &mut cut] {
            lags.account(task(0), first.max(0.0), (-first).max(0.0), 1.0, SECOND_NS);
        }
        whole.account(task(0), entitlement, received, waited, pieces.iter().sum());
        for piece in pieces {
            cut.account(task(0), entitlement, received, waited, piece);
        }
        let (whole, cut) = (whole.lag_ms(task(0)), cut.lag_ms(task(0)));
        prop_assert!((whole - cut).abs() < 1e-6, "{whole} {cut}");
    }
}
