// SPDX-License-Identifier: GPL-2.0-only
//! How far the demand estimate is from the truth, and when: the figures in the
//! documentation of `demand`, measured on the fluid domain of `gps`.
//! Never depends on real time.

use proptest::prelude::*;

use super::gps::{Gps, Work};
use super::*;
use crate::ids::TaskRef;

/// A domain under watch, in rounds. Cycles are a few ms long, so this half-life
/// remembers about as many of them as one second does of the usual ones.
struct Watch {
    gps: Gps,
    estimator: Estimator,
}

const HALF_LIFE_MS: f64 = 400.0;
const MS_NS: f64 = 1e6;

/// What chance may add to the estimate of a task that was free for
/// HALF_LIFE_MS: cycles vary, the last is cut, the first assumption lingers.
const NOISE: f64 = 0.015;

/// Never sleeps.
const SPIN: Work = Work::Open {
    period: 1.0,
    burst: 3.0,
};

impl Watch {
    fn new(gps: Gps) -> Self {
        let estimator = Estimator::new((HALF_LIFE_MS * MS_NS) as u64);
        Watch { gps, estimator }
    }

    fn rounds(&mut self, count: usize, round_ms: f64) {
        for _ in 0..count {
            self.gps.run_until(self.gps.now + round_ms);
            let rows: Vec<RowSample> = (0..).zip(&self.gps.threads).map(row).collect();
            self.estimator.update((self.gps.now * MS_NS) as u64, &rows);
        }
    }

    fn demand(&self, index: usize) -> f64 {
        self.estimator.demand(index as u32).unwrap()
    }

    /// Run and slept, in ms: what the estimate is made of.
    fn evidence_ms(&self, index: usize) -> f64 {
        let thread = &self.gps.threads[index];
        thread.run + thread.sleep
    }
}

fn row((slot, thread): (u32, &gps::Thread)) -> RowSample {
    let ns = |ms: f64| (ms * MS_NS) as u64;
    RowSample {
        task: TaskRef {
            slot,
            generation: 1,
        },
        pid: slot,
        tgid: slot,
        weight: thread.weight,
        charged: None,
        domain: DomainId(0),
        run_ns: ns(thread.run),
        wait_ns: ns(thread.wait),
        sleep_ns: ns(thread.sleep),
        pinned: false,
        mask: MaskId::ANYWHERE,
        preferred_nodes: 0,
        cgroup: 0,
    }
}

fn closed(demand: f64, cycle: f64) -> Work {
    Work::Closed {
        burst: demand * cycle,
        think: (1.0 - demand) * cycle,
    }
}

fn open(demand: f64, period: f64) -> Work {
    Work::Open {
        period,
        burst: demand * period,
    }
}

/// An open-loop task that gets `rate` CPUs whenever it has work, beside enough
/// others that never stop.
fn beside_spinners(demand: f64, rate: f64, seed: u64) -> Watch {
    let spinners = 4;
    let mut gps = Gps::new(rate * f64::from(spinners + 1), seed);
    gps.add(100.0, open(demand, 0.75));
    for _ in 0..spinners {
        gps.add(100.0, SPIN);
    }
    Watch::new(gps)
}

/// What run / (run + sleep) of an open-loop task tends to.
fn biased(demand: f64, rate: f64) -> f64 {
    if demand >= rate {
        return 1.0;
    }
    demand / (1.0 - demand * (1.0 / rate - 1.0))
}

#[test]
fn open_loop_by_contention() {
    for (demand, rate, expected) in [
        (0.1, 1.0, 0.10),
        (0.1, 0.5, 0.11),
        (0.1, 0.2, 0.17),
        (0.3, 0.8, 0.32),
        (0.3, 0.5, 0.43),
        (0.3, 0.4, 0.55),
        (0.3, 0.25, 1.0),
        (0.6, 0.8, 0.71),
    ] {
        assert!((biased(demand, rate) - expected).abs() < 0.006);
        let mut watch = beside_spinners(demand, rate, 1);
        watch.rounds(50, 100.0);
        let mut mean = 0.0;
        for _ in 0..100 {
            watch.rounds(1, 100.0);
            mean += watch.demand(0) / 100.0;
        }
        assert!((mean - expected).abs() < NOISE, "{demand} {rate}: {mean}");
    }
}

/// A task that changes from a fifth of a CPU to four fifths is believed to want
/// half of one when it has run and slept for one half-life since.
#[test]
fn a_change_is_half_way_in_one_half_life() {
    for (spinners, capacity) in [(0, 1.0), (2, 1.0), (11, 2.0)] {
        let mut gps = Gps::new(capacity, 1);
        gps.add(100.0, closed(0.2, 2.0));
        for _ in 0..spinners {
            gps.add(100.0, SPIN);
        }
        let mut watch = Watch::new(gps);
        watch.rounds(100, 50.0);
        assert!((watch.demand(0) - 0.2).abs() < NOISE);
        watch.gps.threads[0].work = closed(0.8, 2.0);
        let until = watch.evidence_ms(0) + HALF_LIFE_MS;
        while watch.evidence_ms(0) < until {
            watch.rounds(1, 2.0);
        }
        let demand = watch.demand(0);
        assert!((demand - 0.5).abs() < NOISE, "{spinners}: {demand}");
    }
}

/// A sleeper that becomes a spinner in a crowd is slow to be known, but not
/// slower than it takes to be owed its share of the crowd.
#[test]
fn a_change_in_a_crowd_is_known_before_it_matters() {
    for (rate, half_lives) in [(0.5, 2.0), (0.2, 1.65), (0.05, 1.5)] {
        let mut watch = beside_spinners(0.0001, rate, 1);
        watch.rounds(20, 100.0);
        watch.gps.threads[0].work = SPIN;
        let start = watch.gps.now;
        while watch.demand(0) < rate {
            watch.rounds(1, 2.0);
        }
        let took = (watch.gps.now - start) / HALF_LIFE_MS;
        assert!((took - half_lives).abs() < 0.1, "{rate}: {took}");
    }
}

/// A new task of one of five kinds, two of them of random length.
fn new_task(kind: u32, x: f64, y: f64) -> Work {
    match kind {
        0 => SPIN,
        1 => closed(0.95, 10.0),
        // A server: bursts of 0.1 to 10 ms, idle 1 to 30 times as long.
        2 => closed(
            1.0 / (1.0 + 31.6f64.powf(x)),
            0.1 * 100f64.powf(y) * (1.0 + 31.6f64.powf(x)),
        ),
        3 => closed(0.2 + 0.6 * x, 0.3 * 160f64.powf(y)),
        // A thread of a pool: looks in once and sleeps.
        _ => Work::Closed {
            burst: 0.1,
            think: 1e9,
        },
    }
}

/// R.m.s. error of the estimate of tasks alone on a CPU and up to `age_ms` old,
/// if they are taken at first for `demand` with the weight of `prior_ms`.
fn error_of_new_tasks(age_ms: f64, demand: f64, prior_ms: f64) -> f64 {
    let mut squares = 0.0;
    let (ages, lengths) = (20, 10);
    for (kind, age) in (0..5).flat_map(|kind| (0..ages).map(move |age| (kind, age))) {
        for (x, y) in (0..lengths).flat_map(|x| (0..lengths).map(move |y| (x, y))) {
            let middle = |n: u32, of: u32| (f64::from(n) + 0.5) / f64::from(of);
            let work = new_task(kind, middle(x, lengths), middle(y, lengths));
            let mut gps = Gps::new(1.0, u64::from(x * lengths + y));
            gps.add(100.0, work);
            gps.run_until(age_ms * middle(age, ages));
            let thread = &gps.threads[0];
            let known = prior_ms + thread.run + thread.sleep;
            let estimate = (demand * prior_ms + thread.run) / known;
            squares += (estimate - work.demand()).powi(2);
        }
    }
    (squares / f64::from(5 * ages * lengths * lengths)).sqrt()
}

#[test]
fn what_new_tasks_are_taken_for() {
    let prior_ms = PRIOR_NS / MS_NS;
    for (age_ms, demand, prior_ms, expected) in [
        (20.0, NEW_TASK_DEMAND, prior_ms, 0.176),
        (20.0, NEW_TASK_DEMAND, 5.0 * prior_ms, 0.215),
        (20.0, 1.0, 1e-9, 0.189),
        (20.0, 1.0, 5.0 * prior_ms, 0.326),
        (1000.0, NEW_TASK_DEMAND, prior_ms, 0.013),
        (1000.0, 1.0, 1e-9, 0.012),
    ] {
        let error = error_of_new_tasks(age_ms, demand, prior_ms);
        assert!(
            (error - expected).abs() < 0.001,
            "{age_ms} {demand} {prior_ms}: {error}"
        );
    }
}

proptest! {
    #![proptest_config(crate::seeds::config("demand::bias"))]

    #[test]
    fn closed_loops_are_measured_whatever_the_contention(
        tasks in prop::collection::vec((0.0..4.0f64, 0.03..0.97f64, 0.25..1.0f64), 1..6),
        utilisation in 0.3..3.0f64, round_ms in 20.0..300.0f64, seed in any::<u64>(),
    ) {
        let capacity = tasks.iter().map(|task| task.1).sum::<f64>() / utilisation;
        let mut gps = Gps::new(capacity, seed);
        for &(magnitude, demand, cycle) in &tasks {
            gps.add(10f64.powf(magnitude), closed(demand, cycle));
        }
        let mut watch = Watch::new(gps);
        watch.rounds((1000.0 / round_ms) as usize + 1, round_ms);
        for (index, &(_, demand, _)) in tasks.iter().enumerate() {
            if watch.evidence_ms(index) >= HALF_LIFE_MS {
                let actual = watch.demand(index);
                prop_assert!((actual - demand).abs() < NOISE, "{actual} {demand}");
            }
        }
    }

    #[test]
    fn open_loops_never_look_smaller(
        tasks in prop::collection::vec((0.0..2.0f64, 0.03..0.97f64, 0.25..1.0f64), 1..6),
        utilisation in 0.3..3.0f64, round_ms in 20.0..300.0f64, seed in any::<u64>(),
    ) {
        let capacity = tasks.iter().map(|task| task.1).sum::<f64>() / utilisation;
        let mut gps = Gps::new(capacity, seed);
        for &(magnitude, demand, period) in &tasks {
            gps.add(10f64.powf(magnitude), open(demand, period));
        }
        let mut watch = Watch::new(gps);
        watch.rounds((1000.0 / round_ms) as usize + 1, round_ms);
        for (index, &(_, demand, _)) in tasks.iter().enumerate() {
            if watch.evidence_ms(index) >= HALF_LIFE_MS {
                let actual = watch.demand(index);
                prop_assert!(actual > demand - NOISE, "{actual} {demand}");
                let free = capacity >= tasks.len() as f64;
                prop_assert!(!free || actual < demand + NOISE, "{actual} {demand}");
            }
        }
    }

    #[test]
    fn open_loops_are_owed_little_too_much(demand in 0.02..0.98f64, rate in 0.1..1.0f64, seed in any::<u64>()) {
        let mut watch = beside_spinners(demand, rate, seed);
        // Until it has run for long, whatever it gets.
        watch.rounds((2.0 / rate).max(10.0) as usize, 100.0);
        // The level gives it `rate` whatever it wants beyond.
        let owed = watch.demand(0).min(rate);
        let truly = demand.min(rate);
        prop_assert!(owed - truly < 3.0 - 2.0 * 2f64.sqrt() + NOISE, "{owed} {truly}");
        prop_assert!(owed - truly > -NOISE, "{owed} {truly}");
        if demand > 1.05 * rate {
            prop_assert!(watch.demand(0) > 1.0 - NOISE);
        }
    }
}
