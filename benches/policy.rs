// SPDX-License-Identifier: GPL-2.0-only
//! What the policy costs, as multiples of one sort of as many pairs and one pass
//! over as many rows in the same run.
//! Never compares with numbers from another run or machine.

mod problems;
mod sequence;
#[path = "../tests/support/mod.rs"]
mod support;
mod yardstick;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use problems::{CPUS, Instance};
use scx_ballast::abi::ballast_row;
use scx_ballast::affinity::MaskTable;
use scx_ballast::config::Config;
use scx_ballast::daemon::Daemon;
use scx_ballast::demand::Estimator;
use scx_ballast::entitlement::{Entitlements, Solver};
use scx_ballast::kernel::{Beat, Kernel};
use scx_ballast::lag::Lags;
use scx_ballast::load_balance::{Plan, Planner};
use support::{ROUND_NS, RowKernel, config};
use yardstick::{least, least_both, pass, ratio, sort};

/// Rounds of the daemon that are timed: those that settle, and as many after.
const ROUNDS: usize = 16;

/// Whether the command line asks for it: any word that is part of the name, or
/// no word.
fn is_wanted(name: &str) -> bool {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    words.is_empty() || words.iter().any(|word| name.contains(word.as_str()))
}

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

fn bench_entitlements(criterion: &mut Criterion) {
    for (name, build) in PROBLEMS {
        if !is_wanted(&format!("entitlements/{name}")) {
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
            let (sorting, solving) = least_both(|| instance.pairs(), sort, &mut run);
            each.push(solving.as_secs_f64() / count as f64 * 1e9);
            println!(
                "entitlements/{name}/{count}: {:.2} × sorting ({solving:?} / {sorting:?}), {:?}",
                ratio(solving, sorting),
                out.method,
            );
            if count == TASKS as usize {
                let id = format!("entitlements/{name}/{count}");
                criterion.bench_function(&id, |bencher| {
                    bencher.iter(|| solver.solve(&problem, &mut out))
                });
            }
        }
        println!(
            "entitlements/{name}: ns a task {each:.1?}, 1M to 1k {:.2}",
            each[3] / each[0]
        );
    }
}

/// Tasks and domains of the server that a round is measured on.
const TASKS: u32 = 100_000;
const DOMAINS: u32 = 128;

/// A tenth of them confined to their domain, a fifth crowding the first eighth
/// of the domains.
fn rows(count: u32) -> RowKernel {
    let cpus_each = CPUS / DOMAINS;
    RowKernel::new(count, cpus_each, 10, |slot| {
        let domains = if slot.is_multiple_of(5) {
            DOMAINS / 8
        } else {
            DOMAINS
        };
        slot.wrapping_mul(2_654_435_761) % domains
    })
}

/// What a round is measured in: one pass over the rows, and one sort of as many
/// pairs.
fn yard(rows: &[ballast_row], pairs: &[(f64, u32)]) -> (Duration, Duration) {
    let passing = least(|| (), |()| pass(rows));
    (passing, least(|| pairs.to_vec(), sort))
}

/// Everything that a round does outside the planner, step by step.
fn bench_stages(_: &mut Criterion) {
    if !is_wanted("stages") {
        return;
    }
    let mut each = Vec::new();
    for count in [1_000, 10_000, TASKS, 1_000_000] {
        let mut kernel = rows(count);
        let (passing, sorting) = yard(
            &kernel.rows,
            &Instance::uniform(count as usize, CPUS).pairs(),
        );
        let (mut masks, mut samples) = (MaskTable::default(), Vec::new());
        let mut estimator = Estimator::new(ROUND_NS);
        let mut lags = Lags::default();
        let mut times: [Vec<Duration>; 2] = Default::default();
        for _ in 0..12 {
            kernel.pass();
            let now_ns = kernel.beat(&Beat::default()).expect("rows never fail");
            let start = Instant::now();
            masks.sweep();
            kernel.rows(now_ns, &mut masks, &mut samples);
            times[0].push(start.elapsed());
            let start = Instant::now();
            estimator.begin_update();
            lags.begin_round();
            for row in &samples {
                if let Some(had) = estimator.take(now_ns, row).interval {
                    lags.account(row.task, 0.01, had.received, had.waited, had.length_ns);
                }
            }
            times[1].push(start.elapsed());
        }
        for (name, times) in ["rows", "demand and lag"].into_iter().zip(&times) {
            let time = *times.iter().min().expect("some rounds");
            println!(
                "{name}/{count}: {:.1} ns a task, {:.2} × (pass + sort), {:.2} × pass",
                time.as_secs_f64() * 1e9 / f64::from(count),
                ratio(time, passing + sorting),
                ratio(time, passing)
            );
        }
        let all: Duration = times.iter().filter_map(|times| times.iter().min()).sum();
        each.push(all.as_secs_f64() * 1e9 / f64::from(count));
    }
    println!(
        "rows, demand and lag: ns a task {each:.1?}, 1M to 1k {:.2}",
        each[3] / each[0]
    );
}

/// What is timed of a round.
const STAGES: [&str; 4] = ["begin", "plan", "end", "all"];

/// The times of each stage.
type Times = [Vec<Duration>; STAGES.len()];

/// A daemon and its planner, round by round.
struct Rounds {
    daemon: Daemon,
    planner: Planner,
    plan: Plan,
}

impl Rounds {
    fn new(config: &Config) -> Self {
        Rounds {
            daemon: Daemon::new(config),
            planner: Planner::default(),
            plan: Plan::default(),
        }
    }

    /// One round, timed.
    fn round(&mut self, kernel: &mut RowKernel, times: &mut Times) {
        let daemon = &mut self.daemon;
        let shares = BTreeMap::new();
        let mut laps = [Instant::now(); 4];
        let snapshot = daemon
            .begin_round(kernel, &shares)
            .expect("rows never fail");
        laps[1] = Instant::now();
        let config = daemon.plan_config();
        self.planner.plan(&snapshot, config, &mut self.plan);
        laps[2] = Instant::now();
        daemon
            .end_round(kernel, &snapshot, &self.plan)
            .expect("rows never fail");
        laps[3] = Instant::now();
        daemon.reuse(snapshot);
        for (lap, times) in laps.windows(2).zip(&mut *times) {
            times.push(lap[1] - lap[0]);
        }
        times[3].push(laps[3] - laps[0]);
    }
}

/// The daemon's own round, planner included.
fn bench_round(_: &mut Criterion) {
    if !is_wanted("round") {
        return;
    }
    let config = config(CPUS, DOMAINS, 8);
    for count in [1_000, 10_000, TASKS] {
        let mut kernel = rows(count);
        let (passing, sorting) = yard(
            &kernel.rows,
            &Instance::uniform(count as usize, CPUS).pairs(),
        );
        let mut rounds = Rounds::new(&config);
        let mut times = Times::default();
        let mut moves = Vec::new();
        for _ in 0..ROUNDS {
            kernel.pass();
            rounds.round(&mut kernel, &mut times);
            moves.push(rounds.plan.moves.len());
        }
        for (name, times) in STAGES.iter().zip(&mut times) {
            let first = times[0];
            times.sort();
            let show = |time: Duration| ratio(time, passing + sorting);
            println!(
                "round/{count}/{name}: first {:.2}, least {:.2}, median {:.2}, most {:.2} × (pass + sort)",
                show(first),
                show(times[0]),
                show(times[times.len() / 2]),
                show(times[times.len() - 1]),
            );
        }
        println!("round/{count}: pass {passing:?} + sort {sorting:?}; moves {moves:?}");
    }
}

/// The daemon's whole round on a small machine, in time: what it takes of a CPU at
/// one round a second. Tasks that sleep all the time, and tasks that all want to run.
/// Before each round the caches are emptied, as a second of other work does.
fn bench_daemon(_: &mut Criterion) {
    let config = config(8, 2, 2);
    let mut other_work = vec![0u64; 8 << 20];
    for (kind, count, awake) in [
        ("asleep", 100, 0),
        ("asleep", 10_000, 0),
        ("runnable", 10_000, 10_000),
    ] {
        if !is_wanted(&format!("daemon/{kind}/{count}")) {
            continue;
        }
        let mut kernel = RowKernel::new(count, 4, 0, |slot| slot % 2);
        kernel.pass();
        kernel.lull(awake);
        let mut rounds = Rounds::new(&config);
        for is_cold in [false, true] {
            let mut times = Times::default();
            for _ in 0..5 * ROUNDS {
                kernel.pass();
                if is_cold {
                    other_work.iter_mut().for_each(|word| *word += 1);
                }
                rounds.round(&mut kernel, &mut times);
            }
            let caches = if is_cold { "cold" } else { "warm" };
            for (name, times) in STAGES.iter().zip(&mut times) {
                times.sort();
                let middle = times[times.len() / 2];
                println!(
                    "daemon/{kind}/{count}/{caches}/{name}: least {:?}, median {middle:?}",
                    times[0]
                );
            }
        }
    }
}

/// What nobody has, and must not stop the daemon: masks without number.
fn bench_worst(_: &mut Criterion) {
    if !is_wanted("worst") {
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
    targets = bench_stages, bench_round, bench_daemon, bench_worst, bench_entitlements
}
criterion_main!(policy);
