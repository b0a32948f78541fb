// SPDX-License-Identifier: GPL-2.0-only
//! What the policy costs, as multiples of one sort of as many pairs and one pass
//! over as many rows in the same run.
//! Never compares with numbers from another run or machine.

mod problems;
mod sequence;
#[path = "../tests/support/mod.rs"]
mod support;
mod yardstick;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use problems::{CPUS, Instance};
use scx_ballast::entitlement::{Entitlements, Solver};
use yardstick::{medians, ratio, sort};

type Build = fn(usize) -> Instance;

const PROBLEMS: [(&str, Build); 10] = [
    ("uniform", |n| Instance::uniform(n, CPUS)),
    ("nested masks", |n| Instance::uniform(n, CPUS).nested(false)),
    ("nested masks and pins", |n| {
        Instance::uniform(n, CPUS).nested(true)
    }),
    ("100 masks at random", |n| {
        Instance::uniform(n, CPUS).arbitrary(100)
    }),
    ("300 masks at random", |n| {
        Instance::uniform(n, CPUS).arbitrary(300)
    }),
    ("100 groups", |n| Instance::uniform(n, CPUS).grouped(100)),
    ("1000 groups", |n| Instance::uniform(n, CPUS).grouped(1000)),
    ("1000 groups, a cpuset each", |n| {
        Instance::uniform(n, CPUS).grouped(1000).cpusets()
    }),
    ("100 groups, nested masks", |n| {
        Instance::uniform(n, CPUS).nested(false).grouped(100)
    }),
    ("1000 groups, nested masks", |n| {
        Instance::uniform(n, CPUS).nested(false).grouped(1000)
    }),
];

fn bench_entitlements(_criterion: &mut Criterion) {
    if std::env::var_os("W").is_some() {
        return;
    }
    for (name, build) in PROBLEMS {
        if std::env::var("ONLY").is_ok_and(|only| only != name) {
            continue;
        }
        let mut each = Vec::new();
        for count in [1_000, 10_000, 100_000, 1_000_000] {
            let instance = build(count);
            let problem = instance.problem();
            let mut solver = Solver::default();
            let mut out = Entitlements::default();
            let mut run = || solver.solve(&problem, &mut out);
            run();
            let (sorting, solving) = medians(|| instance.pairs(), sort, &mut run);
            each.push(solving.as_secs_f64() / count as f64 * 1e9);
            println!(
                "entitlements/{name}/{count}: {:.2} × sorting ({solving:?} / {sorting:?}), {:?}",
                ratio(solving, sorting),
                out.method,
            );
        }
        println!(
            "entitlements/{name}: ns a task {each:.1?}, 1M to 1k {:.2}",
            each[3] / each[0]
        );
    }
}

/// What nobody has, and must not stop the daemon: masks without number.
fn bench_worst(_criterion: &mut Criterion) {
    if std::env::var_os("ONLY").is_some() {
        return;
    }
    for (count, sets, groups) in [(10_000, 5_000, 0), (10_000, 1_000, 0), (10_000, 5_000, 100)] {
        let mut instance = Instance::uniform(count, 4096).arbitrary(sets);
        if groups > 0 {
            instance = instance.grouped(groups);
        }
        let (mut solver, mut out) = (Solver::default(), Entitlements::default());
        let start = std::time::Instant::now();
        solver.solve(&instance.problem(), &mut out);
        println!(
            "worst/4096 CPUs, {count} tasks, {sets} masks, {groups} groups: {:?}, {:?}",
            start.elapsed(),
            out.method
        );
    }
}

criterion_group! {
    name = policy;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = bench_worst, bench_entitlements
}
criterion_main!(policy);
