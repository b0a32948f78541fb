// SPDX-License-Identifier: GPL-2.0-only
//! Tests of the demand estimate.
//! Never depends on real time: every instant is made up.

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
fn new_task_that_only_waited_wants_a_cpu() {
    let mut feed = Feed::new(SECOND_NS);
    assert_close(feed.add(SECOND_NS, 0, 0, 0), 1.0);
    assert_close(feed.add(SECOND_NS, 0, SECOND_NS, 0), 1.0);
}

#[test]
fn starved_task_keeps_its_demand() {
    let mut feed = Feed::new(SECOND_NS);
    feed.add(SECOND_NS, 250 * MS_NS, 0, 750 * MS_NS);
    for _ in 0..2000 {
        assert_close(feed.add(SECOND_NS, 0, SECOND_NS, 0), 0.25);
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
fn intervals_may_be_cut_anywhere() {
    let mut whole = Feed::new(SECOND_NS);
    let mut cut = Feed::new(SECOND_NS);
    whole.add(SECOND_NS, 0, 0, SECOND_NS);
    cut.add(SECOND_NS, 0, 0, SECOND_NS);
    let expected = whole.add(SECOND_NS, 500 * MS_NS, 0, 500 * MS_NS);
    let mut actual = 0.0;
    for _ in 0..10 {
        actual = cut.add(100 * MS_NS, 50 * MS_NS, 0, 50 * MS_NS);
    }
    assert_close(actual, expected);
}

#[test]
fn suspended_machine() {
    let mut feed = Feed::new(SECOND_NS);
    for _ in 0..10 {
        feed.add(SECOND_NS, 800 * MS_NS, 0, 200 * MS_NS);
    }
    // Eight hours of sleep in one second of this clock.
    let demand = feed.add(SECOND_NS, 800 * MS_NS, 0, 8 * 3600 * SECOND_NS);
    assert_close(demand, 0.8);
    // Eight hours on this clock too: the task did sleep, and wakes up quickly.
    assert!(feed.add(8 * 3600 * SECOND_NS, 0, 0, 8 * 3600 * SECOND_NS) < 1e-3);
    feed.add(SECOND_NS, SECOND_NS, 0, 0);
    assert_close(feed.add(SECOND_NS, SECOND_NS, 0, 0), 0.75);
}

#[test]
fn next_user_of_a_slot_starts_afresh() {
    let mut estimator = Estimator::new(SECOND_NS);
    estimator.update(SECOND_NS, &[row(7, 1, 0, 0, SECOND_NS)]);
    assert_close(estimator.demand(7).unwrap(), 0.0);
    estimator.update(2 * SECOND_NS, &[row(7, 3, SECOND_NS / 2, 0, 0)]);
    assert_close(estimator.demand(7).unwrap(), 1.0);
    assert_eq!(estimator.received(7), None);
}

#[test]
fn counters_that_fall_start_afresh() {
    let mut estimator = Estimator::new(SECOND_NS);
    estimator.update(SECOND_NS, &[row(7, 1, 0, 0, SECOND_NS)]);
    estimator.update(2 * SECOND_NS, &[row(7, 1, 10, 0, 10)]);
    assert_close(estimator.demand(7).unwrap(), 0.5);
    assert_eq!(estimator.received(7), None);
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
    estimator.update(5 * SECOND_NS, &[row(1, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    estimator.update(4 * SECOND_NS, &[row(1, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    assert_close(estimator.demand(1).unwrap(), 0.5);
    estimator.update(5 * SECOND_NS, &[row(1, 1, 2 * SECOND_NS, 0, SECOND_NS)]);
    assert!(estimator.demand(1).unwrap() > 0.5);
}

proptest! {
    #[test]
    fn always_a_share(
        half_life_ns in prop_oneof![Just(0), 1..10 * SECOND_NS, Just(u64::MAX)],
        rows in prop::collection::vec(
            (0..4u32, 0..3u32, any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>()), 1..50),
    ) {
        let mut estimator = Estimator::new(half_life_ns);
        for (slot, generation, now_ns, run_ns, wait_ns, sleep_ns) in rows {
            estimator.update(now_ns, &[row(slot, generation, run_ns, wait_ns, sleep_ns)]);
            let demand = estimator.demand(slot).unwrap();
            prop_assert!((0.0..=1.0).contains(&demand), "{demand}");
            if let Some(received) = estimator.received(slot) {
                prop_assert!((0.0..=1.0).contains(&received), "{received}");
            }
        }
    }

    #[test]
    fn steady_tasks_are_found(duty in 0.0..1.0f64, crowding in 0.0..0.95f64, half_life_ms in 1..5000u64) {
        let mut feed = Feed::new(half_life_ms * MS_NS);
        let awake = 1.0 - crowding;
        let ns = |share: f64| (share * SECOND_NS as f64) as u64;
        let mut demand = 0.0;
        for _ in 0..20 {
            demand = feed.add(SECOND_NS, ns(duty * awake), ns(crowding), ns((1.0 - duty) * awake));
        }
        prop_assert!((demand - duty).abs() < 1e-6, "{demand} {duty}");
    }
}
