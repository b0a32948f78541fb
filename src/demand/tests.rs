// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the demand estimate.
//! Never depends on real time: every instant is made up.

use std::f64::consts::LN_2;

use proptest::prelude::*;

use super::*;

const SECOND_NS: u64 = 1_000_000_000;
const MS_NS: u64 = 1_000_000;

fn row(slot: u32, generation: u32, run_ns: u64, wait_ns: u64, sleep_ns: u64) -> RowSample {
    RowSample {
        task: TaskRef { slot, generation },
        pid: slot + 1000,
        tgid: slot + 1000,
        weight: 100.0,
        charged: None,
        domain: DomainId(0),
        run_ns,
        wait_ns,
        sleep_ns,
        pinned: false,
        mask: MaskId::ANYWHERE,
        preferred_nodes: 0,
        cgroup: 0,
    }
}

/// One task fed with (run, wait, sleep) of one second each time.
struct Feed {
    estimator: Estimator,
    now_ns: u64,
    sums: (u64, u64, u64),
}

impl Feed {
    fn new(half_life_ns: u64) -> Self {
        Feed {
            estimator: Estimator::new(half_life_ns),
            now_ns: 50 * SECOND_NS,
            sums: (0, 0, 0),
        }
    }

    fn add(&mut self, elapsed_ns: u64, run_ns: u64, wait_ns: u64, sleep_ns: u64) -> f64 {
        self.now_ns += elapsed_ns;
        self.sums.0 += run_ns;
        self.sums.1 += wait_ns;
        self.sums.2 += sleep_ns;
        let row = row(3, 1, self.sums.0, self.sums.1, self.sums.2);
        self.estimator.update(self.now_ns, &[row]);
        self.estimator.demand(3).unwrap()
    }
}

fn assert_close(actual: f64, expected: f64) {
    assert!(
        (actual - expected).abs() < 1e-9,
        "{actual} is not {expected}"
    );
}

#[test]
fn waiting_is_not_demand() {
    let mut feed = Feed::new(SECOND_NS);
    for _ in 0..5 {
        assert_close(
            feed.add(SECOND_NS, 200 * MS_NS, 600 * MS_NS, 200 * MS_NS),
            0.5,
        );
        let received = feed.estimator.received(3);
        assert!(received.is_none_or(|cpus| (cpus - 0.2).abs() < 1e-9));
    }
    assert!(feed.estimator.received(3).is_some());
}

#[test]
fn new_task_that_only_waited_is_not_known() {
    let mut feed = Feed::new(SECOND_NS);
    assert_close(feed.add(SECOND_NS, 0, 0, 0), NEW_TASK_DEMAND);
    assert_close(feed.add(SECOND_NS, 0, SECOND_NS, 0), NEW_TASK_DEMAND);
    assert_eq!(feed.estimator.waited(3), Some(1.0));
    assert_eq!(feed.estimator.received(3), Some(0.0));
}

#[test]
fn little_is_soon_known_of_a_new_task() {
    let first =
        |run_ms, sleep_ms| Feed::new(SECOND_NS).add(SECOND_NS, run_ms * MS_NS, 0, sleep_ms * MS_NS);
    // Neither a whole CPU nor 1/6 as if that were certain.
    let demand = first(1, 5);
    assert!((0.2..0.25).contains(&demand), "{demand}");
    // A thread of a pool that has slept since; one that has not stopped yet.
    assert!(first(0, 100) < 0.01);
    assert!(first(20, 0) > 0.97);
    // What follows counts for what it is, not for a sample among many.
    let mut feed = Feed::new(SECOND_NS);
    feed.add(SECOND_NS, MS_NS, 0, 5 * MS_NS);
    let demand = feed.add(94 * MS_NS, 94 * MS_NS, 0, 0);
    assert!((demand - 0.95).abs() < 0.01, "{demand}");
}

#[test]
fn starved_task_keeps_its_demand() {
    let mut feed = Feed::new(SECOND_NS);
    let known = feed.add(SECOND_NS, 250 * MS_NS, 0, 750 * MS_NS);
    assert!((known - 0.25).abs() < 1e-3);
    for _ in 0..2000 {
        assert_close(feed.add(SECOND_NS, 0, SECOND_NS, 0), known);
    }
}

#[test]
fn half_life_halves_the_old() {
    let mut feed = Feed::new(SECOND_NS);
    for _ in 0..60 {
        feed.add(SECOND_NS, 0, 0, SECOND_NS);
    }
    assert_close(feed.add(SECOND_NS, SECOND_NS, 0, 0), 0.5);
    assert_close(feed.add(SECOND_NS, SECOND_NS, 0, 0), 0.75);
}

#[test]
fn a_new_half_life_leaves_the_old_its_weight() {
    // Ten seconds' half-life have gathered 10 / ln 2 seconds of sleep. At one
    // second, t seconds of running are 1 / ln 2 · (1 - 2^-t) against 2^-t of it.
    let mut feed = Feed::new(10 * SECOND_NS);
    for _ in 0..1000 {
        feed.add(SECOND_NS, 0, 0, SECOND_NS);
    }
    feed.estimator.set_half_life(SECOND_NS);
    let before = feed.estimator.demand(3).unwrap();
    assert!(before < 1e-9, "{before}");
    for (second, expected) in [(1, 0.5 / 5.5), (2, 0.75 / 3.25), (3, 0.875 / 2.125)] {
        assert_close(feed.add(SECOND_NS, SECOND_NS, 0, 0), expected);
        assert_eq!(feed.estimator.interval_ns(3), Some(SECOND_NS), "{second}");
    }
}

#[test]
fn suspended_machine() {
    let mut feed = Feed::new(SECOND_NS);
    for _ in 0..10 {
        feed.add(SECOND_NS, 800 * MS_NS, 0, 200 * MS_NS);
    }
    // Eight hours of sleep in one second of this clock.
    let before = feed.estimator.demand(3).unwrap();
    assert!((before - 0.8).abs() < 1e-5);
    let demand = feed.add(SECOND_NS, 800 * MS_NS, 0, 8 * 3600 * SECOND_NS);
    assert!((demand - before).abs() < 1e-5);
    // Nor does a task count as asleep that waited when the machine was suspended.
    let demand = feed.add(SECOND_NS, 100 * MS_NS, 8 * 3600 * SECOND_NS, 10 * MS_NS);
    assert!(demand > 0.8, "{demand}");
    assert_eq!(feed.estimator.waited(3), Some(0.9));
    // Eight hours on this clock too: the task did sleep, and wakes up quickly.
    assert!(feed.add(8 * 3600 * SECOND_NS, 0, 0, 8 * 3600 * SECOND_NS) < 1e-3);
    feed.add(SECOND_NS, SECOND_NS, 0, 0);
    assert_close(feed.add(SECOND_NS, SECOND_NS, 0, 0), 0.75);
}

#[test]
fn next_user_of_a_slot_starts_afresh() {
    let mut estimator = Estimator::new(SECOND_NS);
    estimator.update(SECOND_NS, &[row(7, 1, 0, 0, SECOND_NS)]);
    assert!(estimator.demand(7).unwrap() < 1e-3);
    // Even if its sums could be those of the former task a second later.
    estimator.update(2 * SECOND_NS, &[row(7, 3, SECOND_NS, 0, SECOND_NS)]);
    assert_close(estimator.demand(7).unwrap(), 0.5);
    assert_eq!(estimator.received(7), None);
    assert_eq!(estimator.waited(7), None);
    assert_eq!(estimator.interval_ns(7), None);
}

#[test]
fn counters_that_fall_start_afresh() {
    let mut estimator = Estimator::new(SECOND_NS);
    estimator.update(SECOND_NS, &[row(7, 1, 0, 0, SECOND_NS)]);
    estimator.update(2 * SECOND_NS, &[row(7, 1, MS_NS, 0, 0)]);
    assert!(estimator.demand(7).unwrap() > 0.7);
    assert_eq!(estimator.received(7), None);
}

#[test]
fn sums_that_stumble_count_once() {
    // Two CPUs' clocks differ by 1 ms: 100, 99, 101 ms are 1 ms more, not 2.
    let mut estimator = Estimator::new(SECOND_NS);
    for (at_ms, run_ms) in [(1000, 100), (1001, 99), (1003, 101)] {
        estimator.update(at_ms * MS_NS, &[row(7, 1, run_ms * MS_NS, 0, 0)]);
    }
    assert_eq!(estimator.received(7), Some(0.5));
}

#[test]
fn absent_rows_are_forgotten() {
    let mut estimator = Estimator::new(SECOND_NS);
    assert_eq!(estimator.demand(0), None);
    estimator.update(
        SECOND_NS,
        &[row(7, 1, 0, 0, SECOND_NS), row(2, 1, SECOND_NS, 0, 0)],
    );
    estimator.update(2 * SECOND_NS, &[row(2, 1, 2 * SECOND_NS, 0, 0)]);
    assert_eq!(estimator.demand(7), None);
    assert_eq!(estimator.received(7), None);
    assert_eq!(estimator.received(2), Some(1.0));
    // Back after a short absence, as after a torn row: its history goes on, so
    // having run lately counts for more than having slept before.
    estimator.update(3 * SECOND_NS, &[row(7, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    assert!(estimator.demand(7).unwrap() > 0.7);
    assert_eq!(estimator.interval_ns(7), Some(2 * SECOND_NS));
    // Back after a long one: as if new.
    for second in 4..20 {
        estimator.update(second * SECOND_NS, &[row(2, 1, second * SECOND_NS, 0, 0)]);
    }
    estimator.update(
        20 * SECOND_NS,
        &[row(7, 1, 2 * SECOND_NS, 0, 2 * SECOND_NS)],
    );
    assert_close(estimator.demand(7).unwrap(), 0.5);
    assert_eq!(estimator.received(7), None);
    assert_eq!(estimator.demand(1000), None);
}

#[test]
fn the_clock_may_stand_or_fall_back() {
    let mut estimator = Estimator::new(SECOND_NS);
    estimator.update(5 * SECOND_NS, &[row(1, 1, SECOND_NS, 0, SECOND_NS)]);
    // It stands: what happened is booked when it goes on.
    estimator.update(5 * SECOND_NS, &[row(1, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    assert_close(estimator.demand(1).unwrap(), 0.5);
    assert_eq!(estimator.received(1), None);
    estimator.update(6 * SECOND_NS, &[row(1, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    let demand = estimator.demand(1).unwrap();
    assert!(demand > 0.6, "{demand}");
    assert_eq!(estimator.received(1), Some(1.0));
    // It falls back: what happened meanwhile took nobody knows how long.
    estimator.update(4 * SECOND_NS, &[row(1, 1, 4 * SECOND_NS, 0, SECOND_NS)]);
    assert_close(estimator.demand(1).unwrap(), demand);
    estimator.update(5 * SECOND_NS, &[row(1, 1, 4 * SECOND_NS, 0, SECOND_NS)]);
    assert_eq!(estimator.received(1), Some(0.0));
}

/// What happened in one interval: (run, wait, sleep), in ns.
type Happened = (u64, u64, u64);

fn happened() -> impl Strategy<Value = Happened> {
    // From nothing to minutes, each state alone or with others.
    let ns = || prop_oneof![Just(0), 1..1000u64, 1..100 * SECOND_NS];
    (ns(), ns(), ns())
}

fn half_life() -> impl Strategy<Value = u64> {
    prop_oneof![1..1000u64, MS_NS..100 * SECOND_NS]
}

proptest! {
    #![proptest_config(crate::seeds::config("demand::tests"))]

    #[test]
    fn always_a_share(
        rows in prop::collection::vec(
            (0..4u32, 0..3u32, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 1..50),
        half_lives in prop::collection::vec(
            prop_oneof![Just(0), 1..10 * SECOND_NS, Just(u64::MAX)], 50),
        // Wild sums make a task new nearly always; tame ones let it go on.
        bits in 1..64u32,
    ) {
        let mut estimator = Estimator::new(SECOND_NS);
        for ((slot, generation, now, run, wait, sleep), half_life_ns) in rows.into_iter().zip(half_lives) {
            let ns = |wild: u64| wild >> bits;
            estimator.set_half_life(half_life_ns);
            estimator.update(ns(now), &[row(slot, generation, ns(run), ns(wait), ns(sleep))]);
            let shares = [estimator.demand(slot), estimator.received(slot), estimator.waited(slot)];
            prop_assert!(shares[0].is_some());
            for share in shares.into_iter().flatten() {
                prop_assert!((0.0..=1.0).contains(&share), "{share}");
            }
            let used = shares[1].unwrap_or(0.0) + shares[2].unwrap_or(0.0);
            prop_assert!(used <= 1.0 + f64::EPSILON, "{used}");
            prop_assert!(estimator.interval_ns(slot) != Some(0));
        }
    }

    #[test]
    fn steady_tasks_are_found(duty in 0.0..1.0f64, crowding in 0.0..0.95f64, half_life_ms in 1..5000u64) {
        let mut feed = Feed::new(half_life_ms * MS_NS);
        let free = 1.0 - crowding;
        let ns = |share: f64| (share * SECOND_NS as f64) as u64;
        let mut demand = 0.0;
        for _ in 0..20 {
            demand = feed.add(SECOND_NS, ns(duty * free), ns(crowding), ns((1.0 - duty) * free));
        }
        // What is left of the assumption about new tasks: 1 ms against 1 s.
        prop_assert!((demand - duty).abs() < 1e-3, "{demand} {duty}");
    }

    #[test]
    fn intervals_may_be_cut_anywhere(
        before in happened(), unit in happened(),
        pieces in prop::collection::vec(1..50u64, 1..20), half_life_ns in half_life(),
    ) {
        let mut whole = Feed::new(half_life_ns);
        let mut cut = Feed::new(half_life_ns);
        let (run, wait, sleep) = unit;
        let each = run + wait + sleep;
        for feed in [&mut whole, &mut cut] {
            feed.add(1, before.0, before.1, before.2);
        }
        let count: u64 = pieces.iter().sum();
        let expected = whole.add(count * each, count * run, count * wait, count * sleep);
        let mut actual = cut.estimator.demand(3).unwrap();
        for piece in pieces {
            actual = cut.add(piece * each, piece * run, piece * wait, piece * sleep);
        }
        prop_assert!((actual - expected).abs() < 1e-9, "{actual} {expected}");
    }

    #[test]
    fn waiting_anywhere_changes_nothing(
        history in prop::collection::vec((happened(), any::<bool>()), 1..30), half_life_ns in half_life(),
    ) {
        let mut free = Feed::new(half_life_ns);
        let mut crowded = Feed::new(half_life_ns);
        for ((run, wait, sleep), alone) in history {
            let expected = free.add(run + sleep, run, 0, sleep);
            if alone {
                crowded.add(wait, 0, wait, 0);
            }
            let actual = crowded.add(run + wait + sleep, run, wait, sleep);
            prop_assert_eq!(actual.to_bits(), expected.to_bits());
        }
    }

    #[test]
    fn half_lives_changed_live_compose(
        history in prop::collection::vec((happened(), half_life()), 1..30),
    ) {
        let mut feed = Feed::new(SECOND_NS);
        // (weight, demand) of all evidence, the assumption about new tasks first.
        let mut evidence = vec![(PRIOR_NS, NEW_TASK_DEMAND)];
        for ((run, wait, sleep), half_life_ns) in history {
            feed.estimator.set_half_life(half_life_ns);
            let actual = feed.add(run + wait + sleep, run, wait, sleep);
            let half_lives = (run + sleep) as f64 / half_life_ns as f64;
            for (weight, _) in &mut evidence {
                *weight *= (-half_lives).exp2();
            }
            // 1 - exp2 would lose five digits of a nanosecond against a minute.
            let faded = -(-half_lives * LN_2).exp_m1();
            let fresh = faded * half_life_ns as f64 / LN_2;
            if run + sleep > 0 {
                evidence.push((fresh, run as f64 / (run + sleep) as f64));
            }
            let total: f64 = evidence.iter().map(|(weight, _)| weight).sum();
            let expected = evidence.iter().map(|(weight, demand)| weight * demand).sum::<f64>() / total;
            prop_assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
        }
    }

    #[test]
    fn the_order_of_the_rows_does_not_matter(
        rounds in prop::collection::vec(prop::collection::vec((happened(), any::<bool>()), 8), 1..6),
        shift in 0..8usize,
    ) {
        let mut estimators = [Estimator::new(SECOND_NS), Estimator::new(SECOND_NS)];
        let mut sums = [(0, 0, 0); 8];
        for (now_s, round) in (1..).zip(rounds) {
            let mut rows = Vec::new();
            for ((slot, sum), ((run, wait, sleep), torn)) in (0..).zip(&mut sums).zip(round) {
                *sum = (sum.0 + run, sum.1 + wait, sum.2 + sleep);
                if !torn {
                    rows.push(row(slot, 1, sum.0, sum.1, sum.2));
                }
            }
            estimators[0].update(now_s * SECOND_NS, &rows);
            rows.reverse();
            let middle = shift.min(rows.len());
            rows.rotate_left(middle);
            estimators[1].update(now_s * SECOND_NS, &rows);
            for slot in 0..8 {
                let seen = |estimator: &Estimator| (
                    estimator.demand(slot), estimator.received(slot), estimator.waited(slot));
                prop_assert_eq!(seen(&estimators[0]), seen(&estimators[1]));
            }
        }
    }
}
